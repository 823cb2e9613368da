"""What the pages of this paper share: rows by network, the paper's columns and what stands in them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xcnn.report import PaperNumber, Row, by_network
from xcnn.report.tables import Record

FITS = 95.0  # % of its training images that a network gets right at least; the paper's: 95.6 to 100
STANDS_IN = {"mnist": (), "stl10": ("imagenette",), "cub200": ("cub200_100", "cub200_100_160")}
SEEN = ("animals", "tiny_imagenet", "imagenette")  # drawn from ImageNet's own images
SIDES = {"animals": 64, "cifar10": 32, "tiny_imagenet": 64}  # pixels, of data sets that are not resized
STRIDES = {"conv3": 4}  # pixels of the image to a location of the last map; of a ResNet 32


@dataclass(frozen=True)
class Network:
    """The rows of one network on one data set.

    Args:
        dataset, model: names, as records have them.
        methods: rows by method; of a method's several, with other options, that of its own configuration.
        column: data set of the paper in whose column it stands; empty for none.
    """

    dataset: str
    model: str
    methods: Mapping[str, Row]
    column: str = ""

    @property
    def first(self) -> Row:
        return next(iter(self.methods.values()))

    @property
    def record(self) -> Record:
        return self.first.records[0]

    @property
    def name(self) -> str:
        """Name of the data set as it was loaded, such as `CIFAR-10 (JPEG)`."""
        return str(self.record["data"]["name"])

    @property
    def label(self) -> str:
        """Name of the data set and the network, by which figures tell networks apart."""
        return f"{self.name}, {self.model}"

    @property
    def stands_in(self) -> bool:
        """Whether it stands in the column of a data set that is not at hand."""
        return self.column not in ("", self.dataset)

    @property
    def side(self) -> int:
        """Pixels of a side of the input."""
        data = self.record["settings"]["data"]
        return int(data.get("image_size") or data.get("size") or SIDES[self.dataset])

    @property
    def map_side(self) -> int:
        """Locations of a side of the last block's map; 1 where B4 is KMEx on normalised vectors."""
        return math.ceil(self.side / STRIDES.get(self.model, 32))

    @property
    def seen(self) -> bool:
        """Whether the network's ImageNet weights have seen the images, those of the test part too."""
        return self.dataset in SEEN and bool(self.record["settings"]["model"].get("weights"))

    def mean(self, method: str, metric: str) -> float:
        """Mean over seeds of a method's metric; NaN where there is none."""
        return self.methods[method].mean.get(metric, math.nan) if method in self.methods else math.nan

    def gap(self, method: str) -> float:
        """Cosine with the class's embeddings less that with all others (table 1)."""
        return self.mean(method, "class") - self.mean(method, "out")

    @property
    def frozen(self) -> bool:
        """Whether its features are those of its ImageNet weights, and its classifier alone was trained."""
        return bool((self.record["settings"].get("training") or {}).get("frozen"))

    def fits(self, method: str = "cnn") -> bool:
        """Whether the network, or what explains it, gets at least `FITS` % of its training images right."""
        return self.mean(method, "train") >= FITS


def networks_of(rows: Iterable[Row]) -> list[Network]:
    """Networks in the order of their first rows; of a method's several rows, the one with the fewest overrides."""
    networks = []
    for place, group in by_network(rows).items():
        methods: dict[str, Row] = {}
        for row in group:
            first = methods.setdefault(row.method, row)
            methods[row.method] = min(first, row, key=lambda one: len(one.records[0]["overrides"]))
        networks.append(Network(*place, methods))
    return networks


def in_columns(networks: Sequence[Network]) -> dict[str, Network | None]:
    """Of each data set of the paper the network that stands in its column: on that data, else on what stands in."""
    found: dict[str, Network | None] = {}
    for column, others in STANDS_IN.items():
        named = [network for name in (column, *others) for network in networks if network.dataset == name]
        found[column] = replace(named[0], column=column) if named else None
    return found


def of_column(paper: Iterable[PaperNumber], network: Network) -> list[PaperNumber]:
    """The paper's numbers of the column in which a network stands, as numbers of the network's data set."""
    return [replace(number, dataset=network.dataset) for number in paper if number.dataset == network.column]


def per_class(row: Row) -> int | None:
    """K/C, prototypes for each class; None of a method that has no such option."""
    chosen = row.settings
    number: int | None = (chosen.get("prototypes") or chosen.get("protopnet") or {}).get("per_class")
    return number
