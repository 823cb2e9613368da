"""What is common to the rules by which changes pass through operations."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, fx, nn
from torch.fx import Node

from xcnn.models.graph.changes import Base, Change

__all__ = ["Rule"]


class Rule(ABC):
    """A local operation; `rule(changes, base)` is its change from those of its operands that change, in their order.

    Attributes:
        node: node of the operation.
        keeps: nodes whose values without the change it needs.
    """

    def __init__(self, node: Node, keeps: Sequence[Node] = ()) -> None:
        self.node, self.keeps = node, tuple(keeps)

    @abstractmethod
    def __call__(self, changes: Sequence[Change], base: Base) -> Change: ...

    def _run(self, base: Base, values: dict[Node, Tensor], root: nn.Module) -> Tensor:
        """The operation itself on other values of some of its operands."""
        args, kwargs = fx.map_arg((self.node.args, self.node.kwargs), lambda n: values.get(n, base.values.get(n)))
        if self.node.op == "call_module":
            result: Tensor = root.get_submodule(str(self.node.target))(*args, **kwargs)
        elif self.node.op == "call_method":
            result = getattr(args[0], str(self.node.target))(*args[1:], **kwargs)
        else:
            result = self.node.target(*args, **kwargs)  # type: ignore[operator]
        return result
