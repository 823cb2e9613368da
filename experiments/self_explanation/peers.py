"""Our k-means beside scikit-learn's and faiss's, on drawn rows: seconds and inertia."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import faiss
import torch
from sklearn.cluster import KMeans as ScikitLearn
from threadpoolctl import threadpool_limits
from torch import Tensor

from xcnn.errors import UserError
from xcnn.fingerprint import fingerprint
from xcnn.launch import Setup
from xcnn.metrics.cost import Timing, ratios
from xcnn.prototypes import KMeans, nearest
from xcnn.report import Measured

OURS, PEERS = "ours", {"scikit_learn": "scikit-learn", "faiss": "faiss-cpu"}  # their packages
WAYS = {"started": "from the same start", "seeded": "with its own seeding"}
FAISS_ITERATIONS = 25  # its default


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
