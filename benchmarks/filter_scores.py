"""How many times faster `score_layers` is than algorithm 1 of DeConvolve written out, in one run on one machine.

    python benchmarks/filter_scores.py

Both score every filter of the three layers of the 3-conv network for all ten classes (32 x 32 images).
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xcnn.filters import score_layers
from xcnn.models import conv3

SHAPES = {"relu1": (32, 32, 32), "relu2": (64, 16, 16), "relu3": (128, 8, 8)}


@torch.no_grad()
def literal(model: nn.Sequential) -> dict[str, Tensor]:
    """Algorithm 1, step by step: one filter at a time, both probabilities anew for each, all classes at once."""
    names = [name for name, _ in model.named_children()]
    scores = {}
    for layer, (n_filters, *size) in SHAPES.items():
        sub_model = model[names.index(layer) + 1 :]
        columns = []
        for k in range(n_filters):
            one_hot_input = torch.zeros(1, n_filters, *size)
            baseline_prob = sub_model(one_hot_input).softmax(1)[0]
            one_hot_input[:, k] = 1
            activated_prob = sub_model(one_hot_input).softmax(1)[0]
            columns.append(activated_prob - baseline_prob)
        scores[layer] = torch.stack(columns, dim=1)
    return scores


def seconds(score: Callable[[], object], repeats: int) -> float:
    """The least time of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        score()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    torch.manual_seed(0)
    model = conv3().eval()
    one_by_one, together = literal(model), score_layers(model, SHAPES)
    error = max((one_by_one[layer] - together[layer]).abs().max().item() for layer in SHAPES)
    slow, fast = seconds(lambda: literal(model), 5), seconds(lambda: score_layers(model, SHAPES), 30)
    print(
        f"literal {slow * 1e3:.1f} ms, batched {fast * 1e3:.1f} ms: {slow / fast:.1f} x; largest difference {error:.1e}"
    )


if __name__ == "__main__":
    main()
