"""Tables from records: means over seeds, and the numbers that a paper prints."""

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from xcnn.errors import UserError
from xcnn.fingerprint import differences, fingerprint, flatten

Record = Mapping[str, Any]

UNITS = ("", "%", "share")


@dataclass(frozen=True)
class Row:
    """Records that differ in nothing but the seed.

    `mean` and `std` (sample standard deviation; NaN for one seed) go by metric and leave out undefined values; `n` is
    the number of seeds.
    """

    dataset: str
    model: str
    method: str
    setting: str
    n: int
    mean: Mapping[str, float]
    std: Mapping[str, float]
    records: Sequence[Record]

    @property
    def seeds(self) -> str:
        """`1 seed`, `2 seeds`."""
        return f"{self.n} seed{'s' * (self.n > 1)}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of its first record; the others differ in the seed."""
        found: Mapping[str, Any] = self.records[0]["settings"]
        return found

    @property
    def details(self) -> Mapping[str, Any]:
        """Details of its first record."""
        found: Mapping[str, Any] = self.records[0]["details"]
        return found

    def show(self, metric: str, digits: int = 3) -> str:
        """`0.853 ± 0.004`, or `-` where the metric is undefined; what rounds to zero has no sign."""
        mean, std = self.mean.get(metric, math.nan), self.std.get(metric, math.nan)
        if math.isnan(mean):
            return "-"
        return f"{mean:z.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def setting(record: Record) -> str:
    """What a reader must know of how a record was made where the paper may differ: data, weights, epochs, precision."""
    training = record.get("training")
    sizes = record["settings"].get("data", {})
    parts = [
        ", ".join(
            [record["data"]["name"]]
            + [f"{sizes[f'{part}_size']} {part} images" for part in ("train", "test") if sizes.get(f"{part}_size")]
        )
    ]
    model = record["settings"].get("model", {})
    origin = record.get("weights_provenance")
    if training and "weights" in model:
        named = f"from ImageNet weights ({origin})" if origin else "from ImageNet weights"
        parts.append(named if model["weights"] else "trained from scratch")
    elif origin:
        parts.append(f"weights: {origin}")
    if training:
        parts.append(f"{training['epochs']} epochs, {training['precision']} on {training['device']}")
    return "; ".join(parts)


def aggregate(records: Iterable[Record], order: Sequence[str] = ()) -> list[Row]:
    """Rows over seeds, methods in the given order, then by name.

    Records that share a method's name but not its settings are never averaged: they become rows of their own, and the
    settings that tell them apart stand in `setting`.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (record["dataset"], record["model"], record["method"], fingerprint(_without_seed(record)))
        groups.setdefault(key, []).append(record)
    rows = []
    for (dataset, model, method, _), members in groups.items():
        twins = [other for key, other in groups.items() if key[:3] == (dataset, model, method) and other is not members]
        note = setting(members[0])
        if any(setting(twin[0]) == note for twin in twins):
            changed = {
                line.split(":")[0] for twin in twins for line in differences(*map(_without_seed, (twin[0], members[0])))
            }
            flat = flatten(_without_seed(members[0]))
            note += "; " + ", ".join(f"{key}={flat.get(key)}" for key in sorted(changed))
        metrics = sorted({metric for record in members for metric in record["values"]})
        samples = {metric: _defined(record["values"].get(metric) for record in members) for metric in metrics}
        rows.append(
            Row(
                dataset,
                model,
                method,
                note,
                len(members),
                {metric: statistics.fmean(values) if values else math.nan for metric, values in samples.items()},
                {
                    metric: statistics.stdev(values) if len(values) > 1 else math.nan
                    for metric, values in samples.items()
                },
                sorted(members, key=lambda record: record["seed"]),
            )
        )
    rank = {method: place for place, method in enumerate(order)}
    return sorted(
        rows, key=lambda row: (row.dataset, row.model, rank.get(row.method, len(rank)), row.method, row.setting)
    )


def by_network(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each data set and network, in the order in which they come."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.dataset, row.model), []).append(row)
    return found


def renamed(row: Row, names: Mapping[str, str], method: str = "") -> Row:
    """A row with some of its values alone, under other names: what a cell measured beside its method, as another's row.

    Args:
        names: each new name with that in the records: `{"fidelity": "fidelity/majority"}`.
        method: whose values they are; empty for the row's own.

    Raises:
        KeyError: the row has no such value.
    """
    return replace(
        row,
        method=method or row.method,
        mean={new: row.mean[old] for new, old in names.items()},
        std={new: row.std.get(old, math.nan) for new, old in names.items()},
        records=[
            {**each, "values": {new: each["values"].get(old) for new, old in names.items()}} for each in row.records
        ],
    )


def named(metric: str, suffix: str) -> str:
    """`drop/soft-black` and `low` to `drop.low/soft-black`, as records name what belongs to a metric."""
    name, slash, choice = metric.partition("/")
    return f"{name}.{suffix}{slash}{choice}" if suffix else metric


def _without_seed(record: Record) -> dict[str, Any]:
    settings = {key: value for key, value in record["settings"].items() if key != "seed"}
    parts = ["data", "prototypes", "surrogate"]  # whose own seeds are the record's, as those of variants are
    if isinstance(settings.get("attribution"), Mapping) and settings["attribution"].get("seed") == record["seed"]:
        parts.append("attribution")  # which can also have one of its own
    for part in parts:
        if isinstance(settings.get(part), Mapping):
            settings[part] = {key: value for key, value in settings[part].items() if key != "seed"}
    if isinstance(settings.get("variants"), Mapping):
        settings["variants"] = {
            name: {key: value for key, value in chosen.items() if key != "seed"}
            if isinstance(chosen, Mapping)
            else chosen
            for name, chosen in settings["variants"].items()
        }
    return settings


def _defined(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class PaperNumber:
    """A number that the paper prints, entered by hand with where it stands.

    Args:
        row: the method whose value it is compared with.
        metric: name of the quantity in records. It may end in `/*`, where the paper leaves a choice open: each choice
            that was run is compared.
        text: the number as printed, `47.0` and not `47`: its last digit says how far it is rounded.
        source: where the paper prints it.
        unit: `%` or `share`, of a share of images; empty for all else.
        dataset, model: whose number it is; empty for any.
        not_run: why there is no record, where that is known beforehand.
    """

    row: str
    metric: str
    text: str
    source: str
    unit: str = ""
    dataset: str = ""
    model: str = ""
    not_run: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(float(self.text)):
            raise ValueError(f"{self.text} is no finite number")
        if self.unit not in UNITS:
            raise ValueError(f"the unit is {self.unit!r}; it is one of {', '.join(map(repr, UNITS))}")

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def digits(self) -> int:
        """Decimals printed."""
        return max(0, -int(Decimal(self.text).as_tuple().exponent))

    @property
    def half_unit(self) -> float:
        """How far the value before rounding may lie from the printed one: half a unit of its last digit."""
        return float(Decimal(5).scaleb(int(Decimal(self.text).as_tuple().exponent) - 1))


def read_paper(path: Path) -> list[PaperNumber]:
    """The numbers in a `.paper.csv`; an absent file has none.

    Raises:
        UserError: a column is missing or a number is none (names file and line).
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    numbers = []
    for place, line in enumerate(lines, start=2):
        try:
            numbers.append(
                PaperNumber(
                    line["row"],
                    line["metric"],
                    line["value"].strip(),
                    line["source"],
                    line["unit"],
                    line.get("dataset") or "",
                    line.get("model") or "",
                    line.get("not_run") or "",
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise UserError(
                f"{path}, line {place}: {error!r}. The columns are row, metric, value, unit (%, share or empty), "
                "source, and where needed dataset, model, not_run."
            ) from error
    return numbers


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped for it."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *lines)]
    cells.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
