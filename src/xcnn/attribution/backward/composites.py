"""Composites: which operation has which rule, by its kind, position and layer. They are data, `conf/composite/*.yaml`.

    extends: lrp_0                # choices to follow these
    rules:                        # the first that fits an operation is taken
      - {operation: convolution, position: first, rule: box}
      - {operation: [convolution, linear], layer: "layer4.*", rule: gamma, gamma: 0.25}

All keys but `rule` and those above are options of the rule. A rule of one's own is a function (call, m, values), named
by where it can be imported from: `package.module.function`.
"""

import functools
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from xcnn.attribution.backward import deep_lift  # noqa: F401, enters its rules
from xcnn.attribution.backward.calls import Call
from xcnn.attribution.backward.operations import KINDS
from xcnn.attribution.backward.rules import RULES
from xcnn.attribution.backward.walk import Rule
from xcnn.errors import Unsuited, UserError

__all__ = ["COMPOSITES", "Choice", "Composite", "read_composite"]

COMPOSITES = Path(__file__).resolve().parents[4] / "conf" / "composite"
POSITIONS = ("first", "last")


@dataclass(frozen=True)
class Choice:
    """A rule with its options, and the operations that it is for.

    Attributes:
        rule: the function.
        operations: kinds; empty for all.
        position: "first" or "last" convolution or linear layer on a path; None for any.
        layer: pattern of the layer's qualified name.
        options: keyword arguments of the rule.
    """

    rule: Rule
    operations: tuple[str, ...] = ()
    position: str | None = None
    layer: str = "*"
    options: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, call: Call) -> bool:
        return (
            (not self.operations or call.kind in self.operations)
            and (self.position is None or self.position in call.positions)
            and fnmatchcase(call.place, self.layer)
        )


@dataclass(frozen=True)
class Composite:
    """Choices in order, the first that fits taken.

    Attributes:
        name: for messages.
        choices: in order.
    """

    name: str
    choices: tuple[Choice, ...]

    def choose(self, call: Call, options: Mapping[str, Any]) -> Rule:
        """The rule of a call, with those of the given options that it has and that are not None.

        Raises:
            UserError: no choice fits.
        """
        for choice in self.choices:
            if choice.fits(call):
                known = inspect.signature(choice.rule).parameters
                extra = {name: value for name, value in options.items() if name in known and value is not None}
                bound = {**choice.options, **extra}
                return functools.partial(choice.rule, **bound) if bound else choice.rule
        raise Unsuited(
            f"composite {self.name!r} has no rule for {call}. Give it one (`- {{operation: {call.kind}, rule: ...}}`, "
            f"in a composite that extends {self.name!r}; the rules are {', '.join(sorted(RULES))}, or a function of "
            "your own), state the operation by others that have one, or use Gradient, IntegratedGradients or "
            "SmoothGrad, which need no rules."
        )


def read_composite(name: str | Path) -> Composite:
    """A composite by the name of its file in `conf/composite`, or by the path of a file.

    Raises:
        UserError: there is no such file; it is no composite; a rule, option, operation or position is unknown.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else COMPOSITES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in COMPOSITES.glob("*.yaml")))
        raise UserError(f"there is no composite {str(name)!r} ({path}); there are {there}, or give a YAML file's path.")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content.keys() <= {"extends", "rules"}:
        raise UserError(f"{path} is no composite: it has `rules:`, a list, and perhaps `extends:`, a name.")
    choices = tuple(_choice(entry, path) for entry in content.get("rules") or ())
    parent = content.get("extends")
    return Composite(path.stem, choices + (read_composite(parent).choices if parent else ()))


def _choice(entry: Any, path: Path) -> Choice:
    if not isinstance(entry, dict) or not isinstance(entry.get("rule"), str):
        raise UserError(f"{path}: {entry!r} names no rule; write {{operation: linear, rule: epsilon}}.")
    options = dict(entry)
    rule = _rule(options.pop("rule"), path)
    operations, position = options.pop("operation", ()), options.pop("position", None)
    operations = (operations,) if isinstance(operations, str) else tuple(operations)
    layer = options.pop("layer", "*")
    if unknown := [kind for kind in operations if kind not in KINDS]:
        raise UserError(f"{path}: unknown operation {unknown[0]!r}; there are {', '.join(sorted(KINDS))}.")
    if position not in (None, *POSITIONS):
        raise UserError(f"{path}: unknown position {position!r}; there are {', '.join(POSITIONS)}.")
    known = [*inspect.signature(rule).parameters][3:]
    if extra := options.keys() - set(known):
        raise UserError(
            f"{path}: rule {entry['rule']!r} has no option {', '.join(sorted(extra))}; it has "
            f"{', '.join(known) or 'none'}."
        )
    return Choice(rule, operations, position, layer, options)


def _rule(name: str, path: Path) -> Rule:
    if name in RULES:
        return RULES[name]
    module, _, function = name.rpartition(".")
    try:
        found: Rule = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: there is no rule {name!r}; there are {', '.join(sorted(RULES))}, or a function by where it can "
            "be imported from (package.module.function)."
        ) from error
    return found
