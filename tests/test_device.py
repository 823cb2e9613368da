"""The device's name in records, and autocast by the precision's name."""

import pytest
import torch

from xcnn.device import at_least_float32, autocast, device_name


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
