"""The device's name in records, and autocast by the precision's name."""

import pytest
import torch

from xcnn.device import autocast, device_name


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
