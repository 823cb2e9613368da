"""The traced network as a room to enter: a walk over its nodes computes the network, and layers are found in it."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.attribution.networks import network, pictures
from xcnn.models import conv3
from xcnn.models.graph import OpaqueModule, TracedNetwork, evaluation_copy, operation


def walk(traced: TracedNetwork, images: Tensor) -> dict[object, Tensor]:
    """The value of every node, by its module, function, method or parameter."""
    values: dict[object, object] = {}

    def of(argument: object) -> object:
        return torch.fx.map_arg(argument, values.__getitem__)

    for node in traced.graph.nodes:
        module = traced.module(node)
        if node is traced.placeholder:
            values[node] = images
        elif module is not None:
            values[node] = module(*of(node.args), **of(node.kwargs))
        elif node.op == "get_attr":
            values[node] = traced.root.get_parameter(node.target)
        elif node.op == "call_method":
            first, *rest = of(node.args)
            values[node] = getattr(first, node.target)(*rest, **of(node.kwargs))
        elif node.op == "call_function":
            values[node] = node.target(*of(node.args), **of(node.kwargs))
    return values


@pytest.mark.parametrize("name", ["conv3", "small resnet", "vgg16", "small densenet"])
@torch.no_grad()
def test_a_walk_computes_the_network_and_each_layer(name: str) -> None:
    model, images = network(name), pictures(1, 64, 64)
    outputs: dict[str, Tensor] = {}

    def keep(layer: str, output: Tensor) -> None:
        outputs[layer] = output.clone()

    hooks = [
        module.register_forward_hook(lambda *call, layer=layer: keep(layer, call[2]))
        for layer, module in model.named_modules()
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    traced = TracedNetwork(model)
    values = walk(traced, images)  # keeps every value: an operation in place would change one of them
    assert torch.equal(values[traced.output], logits)
    assert set(traced.outputs) == set(outputs)
    for layer, (node, *_) in traced.outputs.items():
        assert torch.equal(values[node], outputs[layer]), layer
    assert [*traced.order] == [*traced.graph.nodes] and [*traced.order.values()] == [*range(len(traced.order))]


def test_a_backward_walk_finds_the_modules_in_reverse() -> None:
    model = conv3()
    traced = TracedNetwork(model)
    nodes = [node for node in reversed(traced.graph.nodes) if traced.module(node) is not None]
    assert [traced.layer(node) for node in nodes] == [*dict(model.named_children())][::-1]
    assert traced.module(nodes[0]).weight is model.classifier.weight  # type: ignore[union-attr]
    assert traced.module(traced.placeholder) is None and traced.layer(traced.placeholder) is None


def test_residual_sums_and_shared_modules() -> None:
    traced = TracedNetwork(torchvision.models.resnet18())
    relus = traced.outputs["layer1.0.relu"]
    assert len(relus) == 2 and [traced.layer(node) for node in relus] == ["layer1.0.relu"] * 2
    (sum_node,) = relus[1].all_input_nodes  # type: ignore[union-attr]
    assert operation(sum_node) == "add"  # written in place, `out += identity`
    assert [traced.layer(node) for node in sum_node.all_input_nodes] == ["layer1.0.bn2", "maxpool"]


def test_a_layer_that_cannot_be_traced_is_one_node() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) if x.sum() > 0 else x

    traced = TracedNetwork(nn.Sequential(nn.ReLU(), Branching(), nn.Flatten()))
    (node,) = traced.outputs["1"]
    module = traced.module(node)  # type: ignore[arg-type]
    assert isinstance(module, OpaqueModule) and isinstance(module.module, Branching)
    assert "control flow" in module.reason and "1.inner" not in traced.outputs and "1.inner" in traced.layers


@torch.no_grad()
def test_subgraph_between_any_nodes() -> None:
    model, images = network("small resnet"), pictures(1, 33, 33)
    traced = TracedNetwork(model)
    values = walk(traced, images)
    ends = [traced.cuttable["layer1"], traced.cuttable["layer3"]]
    found = traced.subgraph([traced.placeholder], ends)(images)
    assert isinstance(found, tuple) and all(torch.equal(a, values[node]) for a, node in zip(found, ends, strict=True))
    later = traced.subgraph(ends[:1], ends[1])
    assert torch.equal(later(values[ends[0]]), values[ends[1]])
    assert torch.equal(later(2 * values[ends[0]]), traced.subgraph(ends[:1], ends[1], in_place=True)(2 * found[0]))


def test_evaluation_copy_shares_tensors_and_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
    fired: list[str] = []
    model[0].register_forward_hook(lambda *_: fired.append("hook"))
    copied = evaluation_copy(model)
    images, before = torch.rand(2, 3, 4, 4), model[1].running_mean.clone()
    assert torch.equal(copied(images), copied(images)) and not fired and not copied.training and model.training
    assert torch.equal(model[1].running_mean, before)
    ours, theirs = dict(copied.state_dict(keep_vars=True)), dict(model.state_dict(keep_vars=True))
    assert ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)
