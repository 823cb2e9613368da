"""The device and its name in records, and the precision by the processor's features."""

from pathlib import Path

import pytest
import torch

from xcnn.device import at_least_float32, autocast, device_name, device_of, training_precision
from xcnn.errors import UserError


def test_the_name_of_a_cpu() -> None:
    assert device_name(torch.device("cpu", 0)) == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_name_of_a_gpu() -> None:
    assert device_name(torch.device("cuda")) == torch.cuda.get_device_properties(0).name


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
def test_only_mixed_precision_casts_products(precision: str, dtype: torch.dtype) -> None:
    rows = torch.ones(2, 2)
    with autocast(torch.device("cpu"), precision):
        assert (rows @ rows).dtype == dtype


def test_wide_is_float32_at_least() -> None:
    kinds = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float32}
    for dtype, expected in {**kinds, torch.float64: torch.float64}.items():
        values = torch.ones(2, dtype=dtype)
        assert at_least_float32(values).dtype == expected and (at_least_float32(values) is values) == (
            dtype == expected
        )


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ({"avx512_f": True, "avx512_bf16": False, "avx512_vnni": True}, "32-true"),
        ({"avx2": True}, "32-true"),
        ({"architecture": "arm64", "neon": True}, "32-true"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    features: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert training_precision("cpu", "auto") == training_precision("cpu") == expected
    assert [training_precision("cpu", asked) for asked in ("32-true", "bf16-mixed")] == ["32-true", "bf16-mixed"]


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_on_a_gpu_is_bfloat16_where_it_is_not_emulated(
    supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert training_precision("gpu") == training_precision("auto") == expected
    assert device_of("auto") == device_of("gpu") == torch.device("cuda") and device_of("cpu") == torch.device("cpu")


def test_the_processor_of_this_machine_is_asked() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    if "avx2" not in flags:
        pytest.skip("/proc/cpuinfo names no x86 features here")
    fast = {"avx512_bf16", "amx_bf16"} & flags
    assert training_precision("cpu") == ("bf16-mixed" if fast else "32-true")


def test_an_unknown_precision_or_accelerator_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="unknown precision '16'; there are: auto, 32-true, bf16-mixed"):
        training_precision("cpu", "16")
    with pytest.raises(UserError, match="unknown accelerator 'npu'; there are: auto, cpu, gpu"):
        device_of("npu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none_is_refused_and_auto_is_the_cpu() -> None:
    with pytest.raises(UserError, match=r"sees no GPU here\. Choose trainer=cpu"):
        training_precision("gpu", "32-true")
    assert device_of("auto") == torch.device("cpu")
