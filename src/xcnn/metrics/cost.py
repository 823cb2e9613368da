"""What a computation costs: seconds, side by side in one run, and the peak of the memory that its tensors take."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from xcnn.errors import UserError

CPU = torch.device("cpu")
FORWARD = "forward"


@dataclass(frozen=True)
class Timing:
    """The least seconds of several calls, these over the reference's, and what the last call returned.

    Attributes:
        low, high: the least and the greatest of `ratio` and the rounds' own ratios.
    """

    seconds: float
    ratio: float
    result: Any
    low: float
    high: float


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
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, function in functions.items():
            results.pop(name, None)  # no call finds the memory of its last one's result taken
            _finish(device)
            started = time.perf_counter()
            results[name] = function()
            _finish(device)
            seconds[name].append(time.perf_counter() - started)
    found = {}
    for name, own in seconds.items():
        rounds = [one / other for one, other in zip(own, seconds[reference], strict=True)]
        least, ratio = min(own), min(own) / min(seconds[reference])
        found[name] = Timing(least, ratio, results[name], min(ratio, *rounds), max(ratio, *rounds))
    return found


def processor_ratios(
    functions: Mapping[str, Callable[[], Any]], reference: Callable[[], Any], rounds: int
) -> dict[str, float]:
    """Processor time of functions over that of a reference: the median of `rounds` rounds, in which they take turns.

    Each is divided by the mean of the reference's times just before and after it, so that what else the machine does
    meets both. Processor time leaves out what others compute, but not that they take caches and the core's second half.
    """
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        before = _processor_seconds(reference)
        for name, function in functions.items():
            seconds, after = _processor_seconds(function), _processor_seconds(reference)
            found[name].append(2 * seconds / (before + after))
            before = after
    return {name: statistics.median(values) for name, values in found.items()}


def latencies(
    functions: Mapping[str, Callable[[int], Any]], rounds: Mapping[str, int], device: torch.device = CPU
) -> dict[str, list[float]]:
    """Milliseconds of single calls, after one that is not counted: of each function as many as its rounds, in turns.

    On the CPU processor time, which is the waiting time of one thread on a machine that does nothing else; on a GPU the
    time that passes until it has finished.

    Args:
        functions: by name; each is given the number of the round, from 0, and may take another input in each.
        rounds: by name, at least 1.
        device: where the functions compute.

    Raises:
        UserError: no rounds.
    """
    if min(rounds[name] for name in functions) < 1:
        raise UserError("a latency needs at least one round of each function: give rounds of at least 1.")
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for function in functions.values():
        function(0)
    found: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(max(rounds.values())):
        for name, function in functions.items():
            if turn < rounds[name]:
                _finish(device)
                started = clock()
                function(turn)
                _finish(device)
                found[name].append(1000 * (clock() - started))
    return found


def waiting_times(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """`p50/NAME` and `p95/NAME`, percentiles in ms, and `ratio_p50/NAME` and `ratio_p95/NAME`.

    The latter are over the median of the forward pass.

    Args:
        found: times of each call in ms, as of `latencies`, the forward pass (`FORWARD`) among them.
    """
    ends = {"p50": 50, "p95": 95}
    values = {f"{end}/{name}": float(np.percentile(each, q)) for name, each in found.items() for end, q in ends.items()}
    return values | {f"ratio_{name}": value / values[f"p50/{FORWARD}"] for name, value in values.items()}


def _processor_seconds(function: Callable[[], Any]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


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
    recorded = profiler.profiler.kineto_results.events()
    changes = [event for event in recorded if event.name() == "[memory]"]
    taken = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        taken += event.nbytes()
        peak = max(peak, taken)
    return peak


def saved_by_autograd(network: nn.Module, images: Tensor) -> int:
    """Bytes that autograd keeps of a forward pass for the gradients, without the weights and the images."""
    kept: dict[int, int] = {}
    images = images.clone()  # which a network may change in place
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), images)}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(images)
    del output
    return sum(size for place, size in kept.items() if place not in own)


@torch.no_grad()
def held_by_walk(method: Any, images: Tensor) -> int:
    """Bytes that the walk of a method keeps of a forward pass, without the weights and the images."""
    network = method.network
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), images)}
    recorded = method.walk.forward(images)
    kept: dict[int, int] = {}
    for values in recorded.values.values():
        for name, found in vars(values).items():
            for tensor in found if isinstance(found, tuple) else (found,):
                if isinstance(tensor, Tensor) and not name.startswith("_"):
                    kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(size for place, size in kept.items() if place not in own)


def forward_pass(network: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """One plain forward pass: what costs are compared with."""

    @torch.inference_mode()
    def forward() -> Tensor:
        logits: Tensor = network(images)
        return logits

    return forward


def beside_forward(
    network: nn.Module, images: Tensor, functions: Mapping[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """What functions cost beside one plain forward pass of `images`, in the same run.

    Returns:
        `seconds/NAME` and `mib/NAME`, the forward pass (`FORWARD`) among them, and `time/NAME` and `memory/NAME`, over
        those of the forward pass, with `time.low/NAME` and `time.high/NAME`, the ends over the rounds, where there are
        several; and by name what each function returned.
    """
    every = {FORWARD: forward_pass(network, images), **functions}
    peaks = {name: peak_bytes(function, images.device) for name, function in every.items()}
    timings = ratios(every, FORWARD, repeats, images.device)
    values: dict[str, float] = {}
    for name, timing in timings.items():
        values |= {f"seconds/{name}": timing.seconds, f"mib/{name}": peaks[name] / 2**20}
        if name != FORWARD:
            values |= {f"time/{name}": timing.ratio, f"memory/{name}": peaks[name] / peaks[FORWARD]}
            if repeats > 1:
                values |= {f"time.low/{name}": timing.low, f"time.high/{name}": timing.high}
    return values, {name: timings[name].result for name in functions}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
