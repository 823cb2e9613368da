"""How long the explorer takes to answer: pages of images that it has not seen, and pages that it has explained before.

    make bench-explorer

Two networks: the 3-conv network at 32 x 32, and ResNet-18 at 224 x 224, each trained for an epoch on a few images
(trained better, it costs the same; those of ResNet-18 are noise in Imagenette's folders), loaded and measured before
the first question. `first picture` is the time until the beginning of a page of a new image and the first of its
pictures have come; at most a second is aimed at for ResNet-18 on two cores. Times are of the wall clock, which other
programs lengthen; `processor` beside them is this process's own time for a request.
"""

import argparse
import http.client
import math
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image

from xcnn.apps.explorer.app import explorer
from xcnn.apps.explorer.loading import Networks
from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.data.imagenette import CLASSES

NETWORKS = {
    "conv3": ("data.n_train=64",),
    "resnet18": ("data=imagenette", "model=resnet18_scratch", "layers=[layer4]"),
}
CLIENTS = 4


def noise(folder: Path, n_test: int) -> None:
    """Images of noise in Imagenette's folders: six to train on in each class, and `n_test` or a few more to explain."""
    for part, n in (("train", 6), ("val", math.ceil(n_test / len(CLASSES)))):
        for name in CLASSES:
            place = folder / "imagenette" / part / name
            place.mkdir(parents=True)
            for k in range(n):
                Image.effect_noise((224, 224), 90).convert("RGB").save(place / f"{name}_{k}.JPEG")


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """The port of a running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield port
    server.should_exit = True
    thread.join(10)


def asked(port: int, address: str, picture: bool = False) -> float:
    """Seconds until a page has come; with `picture` until the first of its pictures has, and the page goes on."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", address)
    reply = connection.getresponse()
    page, found = "", None
    while (part := reply.read1().decode(errors="ignore")) and not (picture and found):
        page += part
        found = re.search(r"/picture/[0-9a-f]+\.png", page)
    if reply.status != 200:
        raise SystemExit(f"{address}: {reply.status}\n{page}")
    if picture:
        assert found is not None
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        other.request("GET", found[0])
        other.getresponse().read()
        other.close()
    seconds = time.perf_counter() - started
    reply.read()
    connection.close()
    return seconds


def measure(name: str, port: int, addresses: Sequence[str], clients: int, picture: bool = False) -> None:
    """Print the times of some requests."""
    started, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(lambda address: asked(port, address, picture), addresses))
    seconds, processor = time.perf_counter() - started, (time.process_time() - worked) / len(addresses)
    p50, p95 = np.quantile(times, (0.5, 0.95))
    print(
        f"{name}: p50 {1e3 * p50:.0f} ms, p95 {1e3 * p95:.0f} ms, {len(addresses) / seconds:.1f} requests a second, "
        f"processor {1e3 * processor:.0f} ms ({len(addresses)} requests)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=40, help="new images of each kind of question")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    n = options.images
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            noise(Path(folder), 3 * n + 1)
            places = (f"paths.runs={folder}", f"paths.data={folder}")
            network = ExplainedNetwork(name, "white_box/figure9", "training.max_epochs=1", *NETWORKS[name], *places)
            started = time.perf_counter()
            network.warm_up()
            print(f"{name}: measured beforehand in {time.perf_counter() - started:.1f} s", flush=True)
            with served(explorer(Networks({name: network}), Path(folder) / "uploads")) as port:
                asked(port, "/?image=test-0")  # templates are read once
                first, second, third = ([f"/?image=test-{1 + start + k}" for k in range(n)] for start in (0, n, 2 * n))
                measure(f"{name}, first picture of a new image", port, first, 1, picture=True)
                measure(f"{name}, pages of new images", port, second, 1)
                measure(f"{name}, pages of new images, {CLIENTS} clients", port, third, CLIENTS)
                measure(f"{name}, pages explained before, {CLIENTS} clients", port, 5 * second, CLIENTS)


if __name__ == "__main__":
    main()
