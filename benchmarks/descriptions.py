"""How many filters the measured describer puts into words in a minute of one processor core.

    python benchmarks/descriptions.py

Maps of 8 x 8 on images of 32 x 32, as of the 3-conv network's last layer. Counted is the processor's time, so that
other programs do not matter. The aim is 10,000.
"""

import time

import torch

from xcnn.data.shapes import draw
from xcnn.data.tensors import scale
from xcnn.language import FilterEvidence, MeasuredDescriber

FILTERS = 600
CLASSES = tuple(f"class {k}" for k in range(10))


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = scale(draw(FILTERS).images)
    maps = (torch.randn(FILTERS, 8, 8, generator=generator) - 0.3).relu()
    auroc = torch.rand(10, generator=generator)
    evidence = [
        FilterEvidence("relu3", k, images[k], maps[k], CLASSES[0], CLASSES[1], 0.01, CLASSES, auroc)
        for k in range(FILTERS)
    ]
    describer = MeasuredDescriber()
    describer.describe(evidence[0])  # the colour prototypes are made once
    started = time.process_time()
    for one in evidence:
        describer.describe(one)
    each = (time.process_time() - started) / FILTERS
    print(f"{1e3 * each:.2f} ms a filter: {60 / each:,.0f} a minute")


if __name__ == "__main__":
    main()
