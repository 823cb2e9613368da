"""Times side by side against a clock set by hand; peaks of memory against tensors of known size."""

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import TINY
from tests.launch.test_run import run
from xcnn.attribution import GuidedBackprop
from xcnn.errors import UserError
from xcnn.metrics import cost
from xcnn.metrics.cost import beside_forward, peak_bytes, ratios

MIB = 2**20


def taking(seconds: list[float], clock: list[float], calls: list[str], name: str) -> Callable[[], int]:
    """A function that puts the clock forward by the next of `seconds`, and returns how often it was called."""
    left = iter(seconds)
    count = itertools.count(1)

    def function() -> int:
        clock[0] += next(left)
        calls.append(name)
        return next(count)

    return function


def test_least_of_the_rounds_over_the_references_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [100.0], list[str]()
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])
    functions = {
        "slow": taking([9.0, 6.0, 7.0], clock, calls, "slow"),
        "plain": taking([2.0, 3.0, 1.5], clock, calls, "plain"),
    }
    found = ratios(functions, "plain", repeats=3)
    assert calls == ["slow", "plain"] * 3, "the rounds are interleaved, and nothing is called besides"
    assert (found["slow"].seconds, found["slow"].ratio) == pytest.approx((6.0, 4.0))
    assert (found["slow"].low, found["slow"].high) == pytest.approx((6 / 3, 7 / 1.5)), "of the rounds' own ratios"
    assert (found["plain"].seconds, found["plain"].ratio) == pytest.approx((1.5, 1.0))
    assert found["slow"].result == 3, "the result of the last call"


def mib(n: int) -> torch.Tensor:
    return torch.empty(n * MIB, dtype=torch.uint8)


def test_tensors_alive_at_once_add_up() -> None:
    def together() -> None:
        first = mib(3)
        second = mib(5)
        del first, second

    assert peak_bytes(together) == 8 * MIB


def test_tensors_one_after_the_other_do_not() -> None:
    def in_turn() -> None:
        first = mib(3)
        del first
        second = mib(5)
        del second
        third = mib(2)
        del third

    assert peak_bytes(in_turn) == 5 * MIB


def test_what_was_there_before_is_not_counted() -> None:
    held = [mib(7)]

    def frees_what_it_found() -> torch.Tensor:
        held.clear()
        return mib(6)

    assert peak_bytes(frees_what_it_found) == 6 * MIB


def test_peak_counts_what_operations_make_on_their_way() -> None:
    x = torch.zeros(MIB // 4)  # 1 MiB

    def chain() -> torch.Tensor:
        return ((x + 1) * 2).exp()  # an operand dies when its result is there: two at a time

    def kept() -> torch.Tensor:
        a = x + 1
        b = a * 2
        return b.exp() + a + b  # a, b, the exponential and the first sum

    assert peak_bytes(chain) == pytest.approx(2 * MIB, abs=1000)  # and the numbers 1 and 2, as tensors
    assert peak_bytes(kept) == pytest.approx(4 * MIB, abs=1000)


def test_beside_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])

    class Network(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert torch.is_inference_mode_enabled()
            clock[0] += 2.0
            mib(4)
            return images

    def explain() -> str:
        clock[0] += 3.0
        mib(6)
        return "maps"

    values, results = beside_forward(Network(), torch.zeros(1), {"explain": explain}, repeats=2)
    assert values == {
        "seconds/forward": 2.0,
        "mib/forward": 4.0,
        "seconds/explain": 3.0,
        "mib/explain": 6.0,
        "time/explain": 1.5,
        "time.low/explain": 1.5,
        "time.high/explain": 1.5,
        "memory/explain": 1.5,
    }
    assert results == {"explain": "maps"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_on_a_gpu() -> None:
    device = torch.device("cuda")
    held = torch.empty(4 * MIB, dtype=torch.uint8, device=device)

    def together() -> None:
        first = torch.empty(2 * MIB, dtype=torch.uint8, device=device)
        second = torch.empty(8 * MIB, dtype=torch.uint8, device=device)
        del first, second

    assert peak_bytes(together, device) == 10 * MIB
    assert held.numel() == 4 * MIB


def measured(name: str, places: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """The record of an experiment run on the network that one epoch on drawn images makes."""
    network = ["model=conv3", "training=deconvolve", "penalty=none", "sweep=resnet50"]
    size = ["batch=2", "repeats=1", f"threads={torch.get_num_threads()}"]
    run(monkeypatch, f"pixel_ablation_cam/{name}", *TINY, *network, *size, *arguments)
    (line,) = (places / f"results/pixel_ablation_cam/{name}.runs.jsonl").read_text().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def test_benchmark_agrees_with_the_package_and_is_faster(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["package.channels=5", "package.repeats=1", "methods=[grad_cam,ablation_cam]"]
    values = measured("benchmark", places, monkeypatch, *arguments)["values"]
    assert values["agreement/grad_cam"] == pytest.approx(1, abs=1e-4)
    assert values["agreement/ablation_cam"] == pytest.approx(1, abs=1e-4)
    assert values["faster/ablation_cam"] > 5  # 128 channels, each a pass
    page = (places / "results/pixel_ablation_cam/benchmark.md").read_text()
    assert "measured on 5 of 128 channels" in page


def test_complexity_counts_what_is_asked_of_the_head(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = measured("complexity", places, monkeypatch, "attribution=pixel_ablation_cam")
    assert record["details"]["maps"] == [128, 8, 8] and record["values"]["ablations"] == 64
    page = (places / "results/pixel_ablation_cam/complexity.md").read_text()
    assert "64 ablations at relu3 of 3-conv network" in page and "| 128 x 8 x 8 | 2 | Pixel Ablation-CAM | 64 |" in page


def test_processor_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function over the mean of the reference before and after it; the median of the rounds."""
    clock, forwards = [0.0], iter([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(cost.time, "process_time", lambda: clock[0])

    def takes(seconds: float | None = None) -> None:
        clock[0] += next(forwards) if seconds is None else seconds

    found = cost.processor_ratios({"four": lambda: takes(4.0), "one": lambda: takes(1.0)}, takes, 3)
    # Rounds: forward passes of 1, 3, 1, then 1, 1, 1, then 2, 2, 2 seconds about the two.
    assert found == {"four": 2.0, "one": 0.5}


def test_latencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds of each round, in turns, without the first call; each round may have another input."""
    clock, called = [0.0], list[tuple[str, int]]()
    monkeypatch.setattr(cost.time, "process_time", lambda: clock[0])

    def takes(name: str, turn: int) -> None:
        called.append((name, turn))
        clock[0] += {"a": 0.001 * (turn + 1), "b": 0.5}[name]

    found = cost.latencies({name: partial(takes, name) for name in "ab"}, {"a": 3, "b": 1})
    assert found == {"a": pytest.approx([1, 2, 3]), "b": pytest.approx([500])}
    assert called == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("a", 1), ("a", 2)]
    with pytest.raises(UserError, match="rounds of at least 1"):
        cost.latencies({"a": partial(takes, "a")}, {"a": 0})


def test_waiting_times_are_percentiles_over_the_forward_passes_median() -> None:
    found = cost.waiting_times({"forward": [1.0, 2.0, 3.0], "map": [10.0] * 20 + [30.0]})
    assert (found["p50/forward"], found["p95/forward"]) == (2.0, pytest.approx(2.9))
    assert (found["p50/map"], found["ratio_p50/map"], found["ratio_p95/map"]) == (10.0, 5.0, 5.0)
    assert found["ratio_p50/forward"] == 1


def test_memory_held() -> None:
    """A convolution and a ReLU: autograd keeps the result of each, the walk one byte for each value of the ReLU."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    images, values = torch.rand(2, 3, 16, 16), 2 * 4 * 14 * 14
    assert cost.held_by_walk(GuidedBackprop(model), images) == values
    assert cost.saved_by_autograd(model, images) == 4 * values
