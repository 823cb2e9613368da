"""What several pages make of the rows of trained networks: areas over all maps, and which rows may be compared."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from xcnn.report import Row, aggregate


def with_all_maps(rows: Sequence[Row]) -> list[Row]:
    """The rows with the area over all maps, also where a record has only what it follows from.

    Over the images on which a filter of the layer fires, the black share of all maps is 1 less the mean area of all
    maps; the other images have the area 0, and `undefined` is their share.
    """
    records = [{**record, "values": _completed(record)} for row in rows for record in row.records]
    return aggregate(records, order=list(dict.fromkeys(row.method for row in rows)))


def _completed(record: Mapping[str, Any]) -> dict[str, float | None]:
    values, layers = record["values"], record["settings"]["layers"]
    found = {
        f"area_all.{layer}": (1 - black) * (1 - values[f"undefined.{layer}"])
        if (black := values[f"black_pixels.{layer}"]) is not None
        else 0.0
        for layer in layers
    }
    return {**found, "area_all": fmean(found.values()), **values}


def comparable(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by method, of one training and version; rows of different ones would compare more than the losses.

    Of several, the group with the longest training, then with the most methods, then the most seeds, then the newest.
    """
    groups: dict[tuple[int, int, str], dict[str, Row]] = {}
    for row in rows:
        first = row.records[0]
        key = (first["training"]["epochs"], first["settings"].get("protocol", 1), first["training"]["precision"])
        groups.setdefault(key, {})[row.method] = row
    best = max(groups, key=lambda key: (key[0], len(groups[key]), sum(r.n for r in groups[key].values()), key[1]))
    return groups[best]
