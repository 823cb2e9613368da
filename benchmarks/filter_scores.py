"""How many times faster `score_filters` is than algorithm 1 of DeConvolve written out, in one run on one machine.

    python benchmarks/filter_scores.py

Both score every filter of the three layers of the 3-conv network for all ten classes (32 x 32 images).
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from xcnn.filters import score_filters
from xcnn.models import conv3

SHAPES = {"relu1": (32, 32, 32), "relu2": (64, 16, 16), "relu3": (128, 8, 8)}


@torch.no_grad()
def literal(model: nn.Sequential, layer: str) -> Tensor:
    """Algorithm 1, step by step: one filter at a time, both probabilities anew for each, all classes at once."""
    names = [name for name, _ in model.named_children()]
    sub_model = model[names.index(layer) + 1 :]
    scores = []
    for k in range(SHAPES[layer][0]):
        one_hot_input = torch.zeros(1, *SHAPES[layer])
        baseline_prob = sub_model(one_hot_input).softmax(1)[0]
        one_hot_input[:, k] = 1
        activated_prob = sub_model(one_hot_input).softmax(1)[0]
        scores.append(activated_prob - baseline_prob)
    return torch.stack(scores, dim=1)


def seconds(score: Callable[[nn.Sequential, str], Tensor], model: nn.Sequential, repeats: int) -> float:
    """The least time of several runs over all layers."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for layer in SHAPES:
            score(model, layer)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    torch.manual_seed(0)
    model = conv3().eval()
    error = max((literal(model, layer) - score_filters(model, layer)).abs().max().item() for layer in SHAPES)
    slow, fast = seconds(literal, model, 5), seconds(score_filters, model, 20)
    print(
        f"literal {slow * 1e3:.1f} ms, batched {fast * 1e3:.1f} ms: {slow / fast:.1f} x; largest difference {error:.1e}"
    )


if __name__ == "__main__":
    main()
