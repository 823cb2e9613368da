"""The page of `deconvolve/words`: whether the words' relevance is higher with the loss."""

from collections.abc import Sequence

from xcnn.report import Column, PaperNumber, Row, Summary, claim


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The verdict is on CIFAR-10, the paper's data: whether the words' relevance is higher with the loss.

    One seed has no spread over networks, so that a verdict needs two.
    """
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("pearson", "correlation"),
        Column("pearson_shuffled", "shuffled"),
        Column("pearson_net", "less shuffled"),
        Column("auprc", "precision"),
        Column("auprc_net", "precision, less shuffled"),
        Column("which", "which images"),
        Column("supported", "claims supported"),
    ]
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        chosen = groups.setdefault((row.dataset, row.settings["words"]), {})
        if row.method not in chosen or row.n > chosen[row.method].n:
            chosen[row.method] = row
    claims = [
        claim(
            [*group.values()],
            "pearson_net",
            "literal",
            "plain",
            "higher",
            counts=dataset == "cifar10" and min(group["plain"].n, group["literal"].n) > 1,
        )
        for (dataset, _), group in groups.items()
        if {"plain", "literal"} <= group.keys()
    ]
    asked = {words for _, words in groups}
    return Summary(
        "DeConvolve, section 4.1: the relevance of the words",
        columns=columns,
        claims=claims,
        facts={
            "groups": [
                {"dataset": dataset, "words": words, "rows": group} for (dataset, words), group in groups.items()
            ],
            "model_ran": bool(asked - {"measured"}),
            "layers": rows[0].settings["layers"],
            "claim_digits": 3,
        },
    )
