"""Cutting networks: identities in float64, captum as oracle for features, and what has to be refused."""

import threading

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from captum.attr import LayerActivation
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from xcnn.errors import UserError
from xcnn.metrics.cost import peak_bytes
from xcnn.models import conv3, cuttable_layers, split_along, split_at, split_at_each


def _vgg(batch_norm: bool) -> nn.Module:
    """VGG-11 with a small classifier: its own has 120 million weights."""
    build = torchvision.models.vgg11_bn if batch_norm else torchvision.models.vgg11
    with torch.device("meta"):
        model = build(init_weights=False)
        model.classifier = nn.Sequential(nn.Linear(25088, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 10))
    return model.to_empty(device="cpu")


NETWORKS = {
    "conv3": conv3,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "vgg11": lambda: _vgg(False),
    "vgg11_bn": lambda: _vgg(True),
    "densenet121": lambda: torchvision.models.densenet121(num_classes=10),
    "timm resnet14t": lambda: timm.create_model("resnet14t", num_classes=10),
}


@torch.no_grad()
def _randomise(model: nn.Module) -> nn.Module:
    """Weights of the scale that keeps activations alive, and normalisations that do something; float64."""
    model.double()
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
        else:
            weight.uniform_(-0.5, 1.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return _randomise(NETWORKS[request.param]())


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """The model's own logits in evaluation mode."""
    modes = [module.training for module in model.modules()]
    model.eval()
    with torch.no_grad():
        logits = model(images.clone())
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return logits


@torch.no_grad()
def test_head_of_trunk_is_the_network_at_every_layer(network: nn.Module, images: Tensor) -> None:
    network.train()
    expected = _logits(network, images)
    layers = cuttable_layers(network)
    assert len(layers) > 10
    for layer, split in split_at_each(network, layers).items():
        features = split.trunk(images)
        kept = features.clone()
        torch.testing.assert_close(split.head(features), expected, rtol=1e-10, atol=1e-12, msg=layer)
        torch.testing.assert_close(split.rest(split.prefix(features)), expected, rtol=1e-10, atol=1e-12, msg=layer)
        assert torch.equal(features, kept), layer
    assert all(module.training for module in network.modules())


def test_features_are_the_layers_output(network: nn.Module, images: Tensor) -> None:
    layers = cuttable_layers(network)
    for layer in layers[:: max(1, len(layers) // 4)]:
        network.eval()
        outputs: list[Tensor] = []
        hook = network.get_submodule(layer).register_forward_hook(lambda *call, to=outputs: to.append(call[2].clone()))
        _logits(network, images)
        hook.remove()
        assert torch.equal(split_at(network, layer).trunk(images), outputs[0]), layer


@torch.no_grad()
def test_one_trunk_along_several_layers_gives_what_each_cut_gives(network: nn.Module, images: Tensor) -> None:
    network.train()
    expected = _logits(network, images)
    layers = cuttable_layers(network)
    layers = layers[:: max(1, len(layers) // 3)]
    kept = images.clone()
    trunk, split = split_along(network, layers)
    found = trunk(images)
    assert split.layer == layers[-1] and isinstance(found, tuple) and len(found) == len(layers)
    for (layer, cut), features in zip(split_at_each(network, layers).items(), found, strict=True):
        torch.testing.assert_close(features, cut.trunk(images), rtol=1e-12, atol=1e-12, msg=layer)
    torch.testing.assert_close(split.head(found[-1]), expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(images, kept) and all(module.training for module in network.modules())


def test_layers_along_the_network_are_in_its_order_each_once() -> None:
    model = conv3()
    trunk, split = split_along(model, ["relu2"])
    assert [features.shape for features in trunk(torch.rand(1, 3, 8, 8))] == [(1, 64, 4, 4)] and split.layer == "relu2"
    for layers in (["relu2", "relu1"], ["relu1", "relu2", "relu1"], ["relu1", "relu1", "relu2"]):
        with pytest.raises(UserError, match=r"not in the network's order, each once: \['relu1', 'relu2'\]"):
            split_along(model, layers)
    with pytest.raises(UserError, match="relu3"):
        split_along(model, ["relu1", "relu4"])


@pytest.mark.parametrize("layer", ["layer1", "layer3.0", "layer4", "avgpool"])
def test_features_are_captums(layer: str, images: Tensor) -> None:
    torch.manual_seed(0)
    model = _randomise(NETWORKS["resnet18"]()).eval()
    oracle = LayerActivation(model, model.get_submodule(layer)).attribute(images)
    torch.testing.assert_close(split_at(model, layer).trunk(images), oracle, rtol=1e-12, atol=1e-12)


def test_prefix_is_affine_and_maximal(network: nn.Module, images: Tensor) -> None:
    layers = cuttable_layers(network)
    for layer in layers[:: max(1, len(layers) // 6)]:
        split = split_at(network, layer)
        a = split.trunk(images).detach()
        b = torch.randn(a.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(2))
        mixed = split.prefix(0.3 * a + 0.7 * b)
        for one, other, both in zip(split.prefix(a), split.prefix(b), mixed, strict=True):
            torch.testing.assert_close(both, 0.3 * one + 0.7 * other, rtol=1e-9, atol=1e-9, msg=layer)


def test_known_frontiers() -> None:
    """What the affine beginning is, where it can be said by hand."""
    resnet = torchvision.models.resnet18(num_classes=10).eval()
    features = torch.rand(1, 64, 8, 8)
    bn, shortcut = split_at(resnet, "layer1").prefix(features)  # a strided block: conv-bn on both branches
    block = resnet.layer2[0]
    torch.testing.assert_close(bn, block.bn1(block.conv1(features)))
    torch.testing.assert_close(shortcut, block.downsample(features))
    same, bn = split_at(resnet, "layer1.0").prefix(features)  # an identity block: the features themselves, and conv-bn
    assert torch.equal(same, features)
    torch.testing.assert_close(bn, resnet.layer1[1].bn1(resnet.layer1[1].conv1(features)))
    assert split_at(resnet, "layer4").affine and not split_at(resnet, "layer3").affine
    assert split_at(conv3(), "relu3").affine and not split_at(conv3(), "conv3").affine
    (only,) = split_at(conv3(), "relu1").prefix(features[:, :32])
    assert torch.equal(only, features[:, :32])


@pytest.mark.parametrize(("name", "layer"), [("conv3", "relu3"), ("resnet18", "layer4"), ("densenet121", "features")])
def test_affine_weight_is_the_head(name: str, layer: str) -> None:
    torch.manual_seed(0)
    model = _randomise(NETWORKS[name]())
    split = split_at(model, layer)
    features = torch.randn_like(split.trunk(torch.zeros(3, 3, 32, 32, dtype=torch.float64)))
    if name == "densenet121":  # a ReLU follows
        with pytest.raises(UserError, match="relu"):
            split.affine_weight(features.shape[1:])
        return
    with torch.no_grad():
        weight, bias = split.affine_weight(features.shape[1:], chunk=3)
        expected = split.head(features)
    logits = torch.einsum("nkhw,ckhw->nc", features, weight) + bias
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert not weight.requires_grad and all(p.grad is None for p in model.parameters())


def test_affine_weight_of_conv3_by_hand() -> None:
    model = conv3().double()
    weight, bias = split_at(model, "relu3").affine_weight((128, 8, 8))
    linear = model.classifier
    torch.testing.assert_close(weight, (linear.weight / 64)[:, :, None, None].expand(-1, -1, 8, 8).detach())
    torch.testing.assert_close(bias, linear.bias.detach())


class Cases(nn.Module):
    """A convolution, then `body(self, x)`, then a mean: for what single operations do after a cut."""

    def __init__(self, body) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.relu, self.relu_, self.body = nn.ReLU(), nn.ReLU(inplace=True), body
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, self.conv(x)).mean((2, 3))


def _added_in_place(m: Cases, x: Tensor) -> Tensor:
    y = m.other(x)
    y += x
    return y * y


def _discarded(m: Cases, x: Tensor) -> Tensor:
    F.relu(x, inplace=True)
    x.mul_(2)
    return x.square()


def _changed_twice(m: Cases, x: Tensor) -> Tensor:
    x += 1
    torch.relu_(x)
    return m.other(x.relu_())


def _aliased_name(m: Cases, x: Tensor) -> Tensor:
    y = x
    y += 1  # the same tensor: x changes too
    return x * x


def _counted(m: Cases, x: Tensor) -> Tensor:
    n = x.shape[1]
    before = n
    n += 1  # a number: `before` does not change
    return x * before + n


def _one_module_twice(m: Cases, x: Tensor) -> Tensor:
    m.relu_(x)
    y = m.other(x)
    m.relu_(y)
    return x + y


def _kept_before(m: Cases, x: Tensor) -> Tensor:
    y = m.other(x)
    squares = y.square()
    return torch.relu_(y) + squares


IN_PLACE = [_added_in_place, _discarded, _changed_twice, _aliased_name, _counted, _one_module_twice, _kept_before]


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("body", IN_PLACE)
def test_in_place_operations_after_the_cut(body, gradients: bool, images: Tensor) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = Cases(body)
    expected = _logits(model, images)
    split = split_at(model, "conv")
    true = F.conv2d(images, model.conv.weight, model.conv.bias, padding=1)
    with torch.set_grad_enabled(gradients):
        features = split.trunk(images)
        for _ in range(2):
            torch.testing.assert_close(split.head(features), expected)
            torch.testing.assert_close(split.rest(split.prefix(features)), expected)
    torch.testing.assert_close(features, true)


@pytest.mark.parametrize("first", [nn.Identity(), nn.Dropout(inplace=True), nn.ReLU(inplace=True), nn.Flatten(0, 0)])
@torch.no_grad()
def test_what_the_caller_holds_is_left_as_it_is(first: nn.Module, images: Tensor) -> None:
    model = nn.Sequential(first, nn.ReLU(True), nn.Conv2d(3, 4, 1), nn.Identity(), nn.ReLU(True), nn.Flatten()).double()
    images = images - 0.5
    given, expected = images.clone(), _logits(model, images)
    for layer in ("0", "1", "2", "3", "4"):
        split = split_at(model, layer)
        features = split.trunk(images)
        held = features.clone()
        torch.testing.assert_close(split.head(features), expected)
        torch.testing.assert_close(features, held, rtol=0, atol=0)
        torch.testing.assert_close(images, given, rtol=0, atol=0)


@torch.no_grad()
def test_weights_changed_in_place_are_left_as_they_are(images: Tensor) -> None:
    model = Cases(lambda m, x: m.other(x) * m.scale.abs_())
    model.scale = nn.Parameter(-torch.ones(1, dtype=torch.float64))
    split = split_at(model, "conv")
    features = split.trunk(images)
    torch.testing.assert_close(split.head(features), model.other(features).mean((2, 3)))
    assert model.scale.item() == -1


@pytest.mark.parametrize(("gradients", "times"), [(True, 2), (False, 1)])
def test_without_gradients_operations_are_in_place_again(gradients: bool, times: int) -> None:
    body = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Identity(), nn.ReLU(inplace=True))
    split = split_at(nn.Sequential(body, nn.Flatten()).requires_grad_(False), "0")
    images = torch.rand(1, 1, 64, 64)
    maps = 4 * images.numel() * images.element_size()
    with torch.set_grad_enabled(gradients):
        assert peak_bytes(lambda: split.trunk(images)) == times * maps


AFFINE = {
    "residual": lambda m, x: m.other(x) + x,
    "cat": lambda m, x: torch.cat([x, m.other(x), 1 - x], 1),
    "constants": lambda m, x: (x * 3 - 1) / 2,
    "pad": lambda m, x: F.pad(x, (1, 1, 1, 1)),
    "sizes": lambda m, x: x.view(x.size(0), x.shape[1], -1)[..., None],
    "dropout": lambda m, x: F.dropout(x, 0.5, training=m.training),
    "pooling": lambda m, x: F.adaptive_avg_pool2d(F.avg_pool2d(x, 2), 1),
    "parameter": lambda m, x: x * m.conv.bias[:, None, None],
    "in place": lambda m, x: x.add_(1).mul_(2),
}
NOT_AFFINE = {
    "square": lambda m, x: x * x,
    "quotient": lambda m, x: 1 / (x + 100),
    "relu": lambda m, x: m.relu(x),
    "maximum": lambda m, x: F.max_pool2d(x, 2),
    "gate": lambda m, x: x * m.other(x).mean((2, 3), keepdim=True),
    "softmax": lambda m, x: x.softmax(1),
    "floor": lambda m, x: torch.div(x, 2, rounding_mode="floor"),
    "batch statistics": lambda m, x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("name", [*AFFINE, *NOT_AFFINE])
def test_affine_operations(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    model = Cases((AFFINE | NOT_AFFINE)[name])
    split = split_at(model, "conv")
    assert split.affine == (name in AFFINE)
    features = split.trunk(images)
    torch.testing.assert_close(split.rest(split.prefix(features)), _logits(model, images))
    if split.affine:
        weight, bias = split.affine_weight(features.shape[1:])
        torch.testing.assert_close(torch.einsum("nkhw,ckhw->nc", features, weight) + bias, split.head(features))


class Mixed(nn.Module):
    """Everything that cannot be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.relu, self.unused, self.pair = nn.ReLU(), nn.ReLU(), Pair()
        self.lstm, self.branching = nn.LSTM(4, 4, batch_first=True), Branching()
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor, flag: bool = False) -> Tensor:
        if flag:
            raise AssertionError
        x = self.relu(self.first(x))
        a, b = self.pair(self.left(x))
        x = self.relu(a + b + self.right(x))
        x, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return self.last(self.branching(self.attention(x)).mean(1))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.inner.weight.mean()
        return self.inner(x) if x.sum() > 1e9 else self.inner(-x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("firts", r"no layer 'firts'. Layers that can be cut: first, "),
        ("", "no layer ''"),
        ("unused", "never called"),
        ("relu", "called 2 times. Nearest layers that can be cut: 'first', 'attention'"),
        ("pair", "not give one tensor"),
        ("lstm", "not give one tensor"),
        ("left", "also depends on 'right', formed without it. Nearest .* 'first', "),
        ("attention.linear1", "inside 'attention', which is run whole. "),
        ("branching.inner", "inside 'branching', which is run whole, because torch.fx cannot trace it .*control flow"),
    ],
)
def test_refusals(layer: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_at(Mixed(), layer)


def test_what_fx_cannot_trace_is_run_whole() -> None:
    model = Mixed().double()
    assert cuttable_layers(model) == ["first", "attention", "branching", "last"]
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    for layer in cuttable_layers(model):
        split = split_at(model, layer)
        torch.testing.assert_close(split.head(split.trunk(images)), _logits(model, images))


def test_untraceable_networks_are_refused() -> None:
    class Network(nn.Module):
        def __init__(self, forward) -> None:  # type: ignore[no-untyped-def]
            super().__init__()
            self.conv, self.function = nn.Conv2d(3, 3, 1), forward

        def forward(self, x: Tensor) -> Tensor:
            return self.function(self.conv(x))

    def viewed(x: Tensor) -> Tensor:
        view = x.flatten(1)
        view.relu_()
        return x

    with pytest.raises(UserError, match="cannot trace it"):
        split_at(Network(lambda x: x if x.sum() > 0 else -x), "conv")
    with pytest.raises(UserError, match=r"in place .* while a view of it"):
        split_at(Network(viewed), "conv")
    with pytest.raises(UserError, match="several values"):
        split_at(Network(lambda x: (x, x)), "conv")


def test_the_model_is_left_alone_and_its_hooks_do_not_fire(images: Tensor) -> None:
    model = conv3().double().train()
    model.relu1.eval()
    model.conv1.weight.requires_grad_(False)
    fired: list[str] = []
    model.conv2.register_forward_hook(lambda *_: fired.append("forward"))
    model.conv2.register_forward_pre_hook(lambda *_: fired.append("before"))
    model.register_full_backward_hook(lambda *_: fired.append("backward"))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = {name: {key: id(value) for key, value in vars(m).items()} for name, m in model.named_modules()}
    split = split_at(model, "relu2")
    features = split.trunk(images).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(split.head(features)[:, 0].sum(), features)
    assert gradient.abs().sum() > 0
    with pytest.raises(UserError):
        split_at(model, "relu9")
    assert not fired
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert attributes == {name: {k: id(v) for k, v in vars(m).items()} for name, m in model.named_modules()}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.conv1.weight.requires_grad and not model.relu1.training and model.training


def test_gradient_of_the_head_is_the_networks(images: Tensor) -> None:
    model = conv3().double().eval()
    split = split_at(model, "relu1")
    features = split.trunk(images).detach()
    ours = torch.autograd.functional.jacobian(lambda f: split.head(f).sum(0), features)
    theirs = torch.autograd.functional.jacobian(lambda f: model[2:](f).sum(0), features)
    torch.testing.assert_close(ours, theirs)
    split.head(features).sum().backward()  # the caller's own backward does reach the parameters
    assert model.classifier.weight.grad is not None


def test_later_weights_are_seen(images: Tensor) -> None:
    model = _randomise(NETWORKS["resnet18"]())
    split = split_at(model, "layer2")
    before = split.head(split.trunk(images))
    _randomise(model)
    after = split.head(split.trunk(images))
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, _logits(model, images))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize(
    "form",
    [
        lambda conv: weight_norm(conv),
        lambda conv: torch.nn.utils.spectral_norm(conv),
        lambda conv: prune.random_unstructured(conv, "weight", 0.5),
        lambda conv: parametrizations.weight_norm(conv),
        lambda conv: parametrizations.orthogonal(conv),
        lambda conv: parametrize.register_parametrization(conv, "weight", nn.Tanh()),
    ],
)
def test_reparametrised_weights(form, images: Tensor) -> None:  # type: ignore[no-untyped-def]
    model = conv3().double()
    form(model.conv2)
    _logits(model, images)  # the old forms keep a tensor with a graph, which cannot be copied
    split = split_at(model, "pool1")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.7)
    torch.testing.assert_close(split.head(split.trunk(images)), _logits(model, images))
    assert len(split.prefix(split.trunk(images))) == 1 and split.prefix(split.trunk(images))[0].shape[1] == 64


def test_threads(images: Tensor) -> None:
    """Cutting in one thread while another runs: torch.fx patches nn.Module for all of them."""
    model = conv3().double().eval()
    expected = _logits(model, images)
    wrong: list[object] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            try:
                if not torch.equal(model(images), expected):
                    wrong.append("value")
            except Exception as error:
                wrong.append(error)

    def cut() -> None:
        for _ in range(20):
            split = split_at(model, "relu2")
            if not torch.equal(split.head(split.trunk(images)), expected):
                wrong.append("split")

    runner, cutters = threading.Thread(target=run), [threading.Thread(target=cut) for _ in range(2)]
    for thread in (runner, *cutters):
        thread.start()
    for thread in cutters:
        thread.join()
    done.set()
    runner.join()
    assert not wrong
