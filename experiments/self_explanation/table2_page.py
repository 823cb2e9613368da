"""The page of `self_explanation/table2`: what explains the network against the network, in the paper's columns."""

from collections.abc import Sequence
from typing import Literal

from experiments.self_explanation.networks import Network, in_columns, networks_of, of_column
from xcnn.report import Claim, Column, PaperNumber, Row, Summary, claim
from xcnn.report.verdicts import Interval

PAPERS = ("cnn", "kmex", "protopnet", "b4", "b234")  # methods of the paper's table
EXPLAINED = ("kmex", "kmex_1", "b4", "b34", "b234", "protopnet", "cnn_adam")  # by their difference from the CNN


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    networks = sorted(networks_of(rows), key=lambda network: -network.mean("cnn", "train"))
    columns = in_columns(networks)
    fitting = [network for network in columns.values() if network and network.fits() and not network.frozen]
    own = [row for network in fitting if not network.stands_in for row in network.methods.values()]
    claims = [each for network in fitting for each in claims_of(network, of_column(paper, network))]
    apart = [differences(network) for network in networks]
    lost = [
        kmex.value
        for network, each in zip(networks, apart, strict=True)
        if (kmex := each.get("kmex")) and not network.frozen
    ]
    return Summary(
        "Post-hoc self-explanation, table 2: accuracy",
        columns=[
            Column("train", "train %", 1),
            Column("test", "test %", 1),
            Column("agrees/test", "as the CNN says, test %", 1),
            Column("tied/test", "ties, test %", 1),
        ],
        claims=claims,
        comparable=bool(fitting),
        counts=lambda comparison: any(comparison.row is row for row in own),
        facts={
            "networks": list(zip(networks, apart, strict=True)),
            "columns": columns,
            "fitting": fitting,
            "methods": PAPERS,
            "others": [row for row in rows if all(row is not each for n in networks for each in n.methods.values())],
            "explained": EXPLAINED,
            "falls_with_fit": len(lost) > 1 and lost == sorted(lost, reverse=True),
        },
    )


def claims_of(network: Network, paper: Sequence[PaperNumber]) -> list[Claim]:
    """That methods differ from the CNN as much as the paper's numbers do.

    In another data set's column only the loss is the paper's, not its size.
    """
    claims = []
    for method in (name for name in PAPERS if name != "cnn" and name in network.methods):
        lost = network.stands_in and method in ("b234", "protopnet")
        says: Literal["lower"] | Sequence[PaperNumber] = "lower" if lost else paper
        chosen = list(network.methods.values())
        claims.append(claim(chosen, "test", method, "cnn", says, network.dataset, network.model, "%"))
    return claims


def differences(network: Network) -> dict[str, Interval | None]:
    """Test accuracy of each method less the CNN's, where both are measured."""
    return {
        method: claim(list(network.methods.values()), "test", method, "cnn", "lower", unit="%").difference
        for method in EXPLAINED
        if method in network.methods and "cnn" in network.methods
    }
