"""Tables from records: means over seeds, and the paper's numbers beside them with a verdict."""

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from xcnn.errors import UserError
from xcnn.fingerprint import differences, fingerprint, flatten

Record = Mapping[str, Any]


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

    def show(self, metric: str, digits: int = 3) -> str:
        """`0.853 ± 0.004`, or `-` where the metric is undefined."""
        mean, std = self.mean.get(metric, math.nan), self.std.get(metric, math.nan)
        if math.isnan(mean):
            return "-"
        return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def setting(record: Record) -> str:
    """What a reader must know of how a record was made where the paper may differ: data, epochs, precision."""
    training = record.get("training")
    sizes = record["settings"].get("data", {})
    parts = [
        ", ".join(
            [record["data"]["name"]]
            + [f"{sizes[f'{part}_size']} {part} images" for part in ("train", "test") if sizes.get(f"{part}_size")]
        )
    ]
    model = record["settings"].get("model", {})
    if training and "weights" in model:
        parts.append("from ImageNet weights" if model["weights"] else "trained from scratch")
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


def _without_seed(record: Record) -> dict[str, Any]:
    settings = {key: value for key, value in record["settings"].items() if key != "seed"}
    for part in ("data", "prototypes"):  # whose own seeds are the record's
        if isinstance(settings.get(part), Mapping):
            settings[part] = {key: value for key, value in settings[part].items() if key != "seed"}
    return settings


def _defined(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class PaperNumber:
    """A number that the paper prints, entered by hand with where it stands.

    `row` is the method whose mean it is compared with; `dataset` and `model` may be empty (any). `metric` may end in
    `/*`, where the paper leaves a choice open: each choice that was run is compared. `tolerance` is absolute. `not_run`
    says why there is no record, where that is known beforehand.
    """

    row: str
    metric: str
    value: float
    tolerance: float
    source: str
    dataset: str = ""
    model: str = ""
    not_run: str = ""


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
                    float(line["value"]),
                    float(line["tolerance"]),
                    line["source"],
                    line.get("dataset") or "",
                    line.get("model") or "",
                    line.get("not_run") or "",
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {place}: {error!r}. The columns are row, metric, value, tolerance, source, and where "
                "needed dataset, model, not_run."
            ) from error
    return numbers


@dataclass(frozen=True)
class Comparison:
    """A paper's number beside our `metric`. `row` is None where nothing was run; the verdict then says why."""

    paper: PaperNumber
    row: Row | None
    metric: str
    verdict: str

    @property
    def difference(self) -> float:
        return math.nan if self.row is None else self.row.mean.get(self.metric, math.nan) - self.paper.value


def compare(rows: Sequence[Row], paper: Iterable[PaperNumber], command: str) -> list[Comparison]:
    """Each of the paper's numbers against every row of ours that it speaks of."""
    comparisons = []
    for number in paper:
        ours = [
            (row, metric)
            for row in rows
            if row.method == number.row and number.dataset in ("", row.dataset) and number.model in ("", row.model)
            for metric in row.mean
            if fnmatchcase(metric, number.metric) and not math.isnan(row.mean[metric])
        ]
        if not ours:
            reason = number.not_run or f"no record yet; `{command}` makes it"
            comparisons.append(Comparison(number, None, number.metric, f"not run: {reason}"))
        for row, metric in ours:
            within = abs(row.mean[metric] - number.value) <= number.tolerance
            verdict = "within" if within else "outside"
            comparisons.append(Comparison(number, row, metric, f"{verdict} ± {number.tolerance:g}"))
    return comparisons


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped for it."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *lines)]
    cells.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
