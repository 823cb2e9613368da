"""The pages of figures 6 to 8: one image with the filters that raise and lower the probability of its class."""

from collections.abc import Sequence

from xcnn.report import Column, PaperNumber, Row, Summary
from xcnn.report.page import Summarise


def image_summary(title: str) -> Summarise:
    """The page of one of the three figures. The paper prints no number, and a language model's words, which ours are
    not: nothing there can be compared."""

    def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
        columns = [
            Column("accuracy", "test accuracy"),
            Column("dead", "dead filters"),
            Column("probability", "probability"),
            Column("live", "live filters", 0),
        ]
        return Summary(title, columns=columns, verdict="not comparable")

    return summarise
