"""Post-hoc self-explanation: what k-means costs, and how many training images the prototypes need.

Paper:      Boubekki & Clemmensen 2026, section 6: k-means is the method's limitation; in preliminary results
            "performance remains stable on subsets of the training data".
Command:    make self-explanation-scalability
Reports:    no number. Aimed at: from the same start 4 times faster than scikit-learn's Lloyd; with its own seeding 20
            times faster than scikit-learn's 10 tries, at no more than 1.003 times its inertia.
Cost:       k-means against its peers: 2 minutes on 2 CPU cores (float32) that do nothing else, 3 GB. Subsets: a
            training of `make self-explanation-table2` (shared), then 12 cells of 10 seconds to three minutes; on the
            embedded data 40 of seconds.
Deviations: the rows of the comparison are drawn, about as many and as wide as those of a class at blocks 2 to 4 of a
            ResNet-34. faiss has no tolerance: from the same start it makes as many iterations as ours, with its own
            (random) seeding 25. Subsets are drawn by the seed, the same share of each class.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

import faiss
import torch
from sklearn.cluster import KMeans as ScikitLearn
from threadpoolctl import threadpool_limits
from torch import Tensor

from xcnn.errors import UserError
from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import TITLES, points, training_share
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.fingerprint import fingerprint
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import Timing, ratios
from xcnn.prototypes import KMeans, nearest
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown

OURS, PEERS = "ours", {"scikit_learn": "scikit-learn", "faiss": "faiss-cpu"}  # their packages
WAYS = {"started": "from the same start", "seeded": "with its own seeding"}
FAISS_ITERATIONS = 25  # its default
STABLE = 1.0  # points of accuracy that a subset may cost


def drawn(setup: Setup) -> Tensor:
    """Rows (n, d) float32 of overlapping clusters, made in place."""
    options = setup.options
    generator = torch.Generator().manual_seed(options.seed)
    middles = options.drawn.spread * torch.randn(options.drawn.middles, options.drawn.width, generator=generator)
    rows = torch.empty(options.drawn.rows, options.drawn.width)
    for piece in rows.split(1000):
        chosen = torch.randint(len(middles), (len(piece),), generator=generator)
        piece.normal_(generator=generator).add_(middles[chosen]).relu_()
    return rows


def clusterings(setup: Setup, rows: Tensor, n_iter: int) -> dict[str, Callable[[], Tensor]]:
    """By `WAY/WHOSE`, what gives the centroids (k, d); from the same start faiss makes `n_iter` iterations."""
    options = setup.options
    k, start = options.n_clusters, rows[: options.n_clusters].clone()
    common = {"max_iter": options.max_iter, "tol": options.tol}

    def ours(start: Tensor | None) -> Tensor:
        return KMeans(k, n_init=options.tries, seed=options.seed, **common).fit(rows, start).centroids_

    def scikit_learn(start: Tensor | None) -> Tensor:
        begin = {"n_init": options.n_init} if start is None else {"init": start.numpy(), "n_init": 1}
        fitted = ScikitLearn(k, **begin, **common, algorithm="lloyd", random_state=options.seed).fit(rows.numpy())
        return torch.from_numpy(fitted.cluster_centers_)

    def by_faiss(start: Tensor | None) -> Tensor:
        tries = {"nredo": options.n_init, "niter": FAISS_ITERATIONS} if start is None else {"niter": n_iter}
        every = {"min_points_per_centroid": 1, "max_points_per_centroid": len(rows)}  # else it takes a sample
        fitted = faiss.Kmeans(rows.shape[1], k, **tries, **every, seed=options.seed)
        fitted.train(rows.numpy(), init_centroids=None if start is None else start.numpy())
        return torch.from_numpy(fitted.centroids)

    functions = {OURS: ours, "scikit_learn": scikit_learn, "faiss": by_faiss}
    return {
        f"{way}/{whose}": partial(function, start if way == "started" else None)
        for way in WAYS
        for whose, function in functions.items()
    }


def limited(threads: int) -> None:
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    threadpool_limits(threads)


def inertia(rows: Tensor, centroids: Tensor) -> float:
    centre = centroids.mean(0)
    pieces = (nearest(piece - centre, centroids - centre)[1].sum(dtype=torch.float64) for piece in rows.split(10_000))
    return float(sum(pieces))


def measure(setup: Setup, cell: Cell) -> Measured:
    return compared(setup) if "drawn" in setup.options else fitted_on_a_share(setup, cell)


def fitted_on_a_share(setup: Setup, cell: Cell) -> Measured:
    """Test accuracy with prototypes of a share of the training images."""
    options = setup.options
    subject = setup.prototyped()
    values = accuracies(prediction_rows(cell, subject, options.chunk, ["test"]))
    share = 1 if options.fit_share is None else options.fit_share
    details = {"fitted_on": len(training_share(subject.data, setup.fit_share, options.seed)), "share": share}
    return subject.measured(values, len(subject.data.test), details=details)


def compared(setup: Setup) -> Measured:
    """Our k-means beside its peers, in one run."""
    options = setup.options
    if options.trainer.accelerator != "cpu":
        raise UserError("scikit-learn's k-means and faiss-cpu's run on the CPU: compare them with trainer=cpu.")
    limited(options.threads)
    rows = drawn(setup)
    fitted = KMeans(options.n_clusters, max_iter=options.max_iter, tol=options.tol).fit(
        rows, rows[: options.n_clusters]
    )
    n_iter = int(fitted.n_iter_)
    functions = clusterings(setup, rows, n_iter)
    timed: dict[str, Timing] = {}
    for way in WAYS:
        those = {name: function for name, function in functions.items() if name.startswith(way)}
        timed |= ratios(those, f"{way}/{OURS}", options.repeats if way == "started" else 1)
    values: dict[str, float] = {}
    for name, timing in timed.items():
        values |= {f"seconds/{name}": timing.seconds, f"faster/{name}": timing.ratio}
        values[f"inertia/{name}"] = inertia(rows, timing.result)
    for name in functions:
        values[f"worse/{name}"] = values[f"inertia/{name}"] / values[f"inertia/{name.split('/')[0]}/{OURS}"]
    details = {"threads": options.threads, "iterations": n_iter} | {
        name: version(package) for name, package in PEERS.items()
    }
    data = {"name": "drawn rows", "manifest": fingerprint(options.drawn)}
    return Measured(values, len(rows), data, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    peers = [row for row in rows if row.dataset == "drawn"]
    shares = [row for row in rows if row.dataset != "drawn"]
    columns = [
        *(Column(f"faster/{way}/scikit_learn", f"scikit-learn's / our time, {said}", 1) for way, said in WAYS.items()),
        Column("worse/seeded/scikit_learn", "scikit-learn's / our inertia", 4),
        Column("test", "test %", 1),
    ]
    parts = [_against_peers(peers)] if peers else []
    drawings, captions = {}, {}
    if shares:
        parts.append(_over_shares(shares))
        file = "scalability-shares.png"
        drawings[file] = tradeoff_plot(_series(shares), "share of the training images", "accuracy, %", log=True)
        captions[file] = "Accuracy over the share of each class's training images that prototypes were fitted on."
    title = "Post-hoc self-explanation: the cost of k-means, and subsets of the training images"
    return Summary(title, "\n\n".join(parts), columns, drawings, captions)


def _against_peers(rows: Sequence[Row]) -> str:
    header = ["rows", "clusters", "", "k-means", "seconds", "ours is faster by", "inertia over ours"]
    lines = []
    for record in (record for row in rows for record in row.records):
        values, chosen = record["values"], record["settings"]
        for way, said in WAYS.items():
            for whose in (OURS, *PEERS):
                name = f"{way}/{whose}"
                lines.append(
                    [
                        f"{record['n']:,} x {chosen['drawn']['width']}",
                        str(chosen["n_clusters"]),
                        said,
                        f"{PEERS[whose]} {record['details'][whose]}" if whose in PEERS else "ours",
                        f"{values[f'seconds/{name}']:.2f}",
                        "" if whose == OURS else f"{values[f'faster/{name}']:.1f}",
                        "" if whose == OURS else f"{values[f'worse/{name}']:.4f}",
                    ]
                )
    chosen = rows[0].records[0]["settings"]
    threads = f"{chosen['threads']} thread{'s' * (chosen['threads'] > 1)}"
    return (
        f"**k-means.** float32 on {threads}, in turn in one run; a tolerance of {chosen['tol']:g}, "
        f"at most {chosen['max_iter']} iterations. With their own seeding scikit-learn and faiss make "
        f"{chosen['n_init']} tries on all rows, ours {chosen['tries']} on a sample and one run on all rows. From the "
        f"same start the least of {chosen['repeats']} runs counts.\n\n{markdown(header, lines)}"
    )


def _by_method(rows: Sequence[Row]) -> dict[tuple[str, str, str], dict[float, Row]]:
    """Rows by data set, network and method, then by share, the smallest first."""
    found: dict[tuple[str, str, str], dict[float, Row]] = {}
    for row in sorted(rows, key=lambda row: float(row.records[0]["details"]["share"])):
        found.setdefault((row.dataset, row.model, row.method), {})[row.records[0]["details"]["share"]] = row
    return found


def _over_shares(rows: Sequence[Row]) -> str:
    parts = [
        f"**Subsets.** The paper finds the performance stable on subsets of the training data. Test accuracy with "
        f"prototypes of a share of each class's training images, stable where it stays within {STABLE:g} point of that "
        "with all:"
    ]
    for (_, model, method), shares in _by_method(rows).items():
        whole = shares.get(1)
        if whole is None:
            continue
        lost = {share: row.mean["test"] - whole.mean["test"] for share, row in shares.items()}
        stable = min(share for share in lost if all(lost[s] >= -STABLE for s in lost if s >= share))
        each = ", ".join(f"{points(lost[share])} points with {share:.0%}" for share in sorted(lost)[-2::-1])
        parts.append(
            f"- {whole.records[0]['data']['name']}, {model}, {TITLES.get(method, method)} ({whole.seeds}): "
            f"{whole.show('test', 1)} % with all "
            f"{whole.records[0]['details']['fitted_on']:,} images; {each}. "
            + ("Not stable." if stable == 1 else f"Stable down to {stable:.0%}.")
        )
    return "\n".join([parts[0], "", *parts[1:]])


def _series(rows: Sequence[Row]) -> list[AccuracySeries]:
    return [
        AccuracySeries(
            f"{next(iter(shares.values())).records[0]['data']['name']}, {model}",
            TITLES.get(method, method),
            list(shares),
            train=[math.nan] * len(shares),
            test=[row.mean["test"] for row in shares.values()],
            train_std=[math.nan] * len(shares),
            test_std=[row.std["test"] for row in shares.values()],
        )
        for (_, model, method), shares in _by_method(rows).items()
    ]


if __name__ == "__main__":
    launch(__file__, measure, summarise)
