"""What a computation costs: seconds, side by side in one run, and the peak of the memory that its tensors take."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timing:
    """The least seconds of several calls, these over the reference's, and what the last call returned."""

    seconds: float
    ratio: float
    result: Any


def ratios(
    functions: Mapping[str, Callable[[], Any]], reference: str, repeats: int, device: torch.device = CPU
) -> dict[str, Timing]:
    """Time functions in turn, `repeats` rounds, so that whatever else the machine does meets all of them.

    The least of the repeats counts: what disturbs a call only ever adds to it. So no call is made to warm up, and with
    one repeat the caller has made one before.

    Args:
        functions: by name, the reference among them.
        reference: the name of the function whose time is 1.
        repeats: rounds, at least 1.
        device: where the functions compute; what they leave running there is waited for.
    """
    least, results = dict.fromkeys(functions, float("inf")), dict[str, Any]()
    for _ in range(repeats):
        for name, function in functions.items():
            results.pop(name, None)  # no call finds the memory of its last one's result taken
            _finish(device)
            started = time.perf_counter()
            results[name] = function()
            _finish(device)
            least[name] = min(least[name], time.perf_counter() - started)
    return {name: Timing(least[name], least[name] / least[reference], results[name]) for name in functions}


def peak_bytes(function: Callable[[], Any], device: torch.device = CPU) -> int:
    """The most memory that the tensors made in a call take at one time.

    On a GPU as its allocator counts it, above what was taken before; on the CPU from the profiler's record of every
    allocation. The work space of oneDNN and the like, which is no tensor's, is not in it.
    """
    if device.type == "cuda":
        _finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        _finish(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    recorded = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [event for event in recorded if event.name() == "[memory]"]
    taken = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        taken += event.nbytes()
        peak = max(peak, taken)
    return peak


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
