"""Rows of similarity, class sensitivity, robustness, sanity and shattering against maps that are compared by hand."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from xcnn.attribution import FEM, Centre, FreshNoise, GradCAM, Gradient, GuidedBackprop, Method, upsample
from xcnn.data.pictures import PictureTensors
from xcnn.data.tensors import scale
from xcnn.evaluation.class_sensitivity import measure_class_sensitivity
from xcnn.evaluation.image_rows import pool_metrics
from xcnn.evaluation.robustness import Attacks, measure_robustness
from xcnn.evaluation.sanity import measure_sanity
from xcnn.evaluation.shattering import measure_shattering, pool_shattering
from xcnn.evaluation.similarity import measure_similarity, pool_similarity
from xcnn.evaluation.subject import Subject
from xcnn.metrics.attacks import fgsm
from xcnn.metrics.similarity import dice, pcc, top_share
from xcnn.models import conv3, deep_network
from xcnn.report import Cell

ATTACKS = Attacks(epsilon=0.05, steps=3, candidates=3, linearisations=5)


def normalise(images: torch.Tensor) -> torch.Tensor:
    return (images - 0.4) / 0.2


@pytest.fixture
def subject() -> Subject:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    masks = torch.zeros(6, 16, 16, dtype=torch.uint8)
    masks[:, 4:12, 2:10] = 1
    boxes = [torch.tensor([[2.0, 4.0, 10.0, 12.0]])] * 6
    pictures = PictureTensors(images, torch.arange(6) % 4, boxes, [f"p{k}" for k in range(6)])
    test = SimpleNamespace(masks={"object": masks})
    data = SimpleNamespace(pictures=pictures, name="drawn", manifest="0", classes=list("abcd"), test=test)
    return Subject(conv3(4).eval(), data, normalise, None, batch=4)  # type: ignore[arg-type]


def cell(folder: Path, method: str = "a") -> Cell:
    labels = {"dataset": "drawn", "model": "conv3", "method": method, "seed": 0}
    return Cell("white_box/similarity", method, folder / method, {"data": {}, "method": method, "variants": {}}, labels)


def rows_of(folder: Path, method: str = "a") -> pd.DataFrame:
    return pd.read_parquet(folder / method / "rows.parquet")


def inputs_of(subject: Subject) -> torch.Tensor:
    assert isinstance(subject.pictures, PictureTensors)
    return normalise(scale(subject.pictures.images))


def test_similarity_by_hand_and_between_all_pairs(subject: Subject, tmp_path: Path) -> None:
    network = subject.network
    methods: dict[str, Method] = {
        "fem": FEM(network, "relu3"), "grad_cam": GradCAM(network, "relu3"), "gradient": Gradient(network, "sum")
    }  # fmt: skip
    references = {name: methods[name] for name in ("fem", "grad_cam")}
    for name, method in methods.items():
        measure_similarity(cell(tmp_path, name), subject, method, references, "fem", 0.2, chunk=4)
        references = dict.fromkeys(references, None)  # type: ignore[arg-type]  # the next method finds their maps kept
    rows = {name: rows_of(tmp_path, name) for name in methods}
    inputs = inputs_of(subject)
    own = methods["gradient"](inputs).clamp(min=0)
    fem = upsample(methods["fem"](inputs), (16, 16))
    small = [values.unflatten(1, (4, 4)).unflatten(3, (4, 4)).mean((2, 4)) for values in (own, fem)]
    for k in range(6):
        expected = stats.pearsonr(own[k].flatten().numpy(), fem[k].flatten().numpy()).statistic
        assert rows["gradient"]["pcc_fem/pixels"][k] == pytest.approx(expected, abs=1e-6)
        blurred = stats.pearsonr(*(values[k].flatten().numpy() for values in small)).statistic
        assert rows["gradient"]["pcc_fem/blurred"][k] == pytest.approx(blurred, abs=1e-5)
        inside = own[k, 4:12, 2:10]
        mean, deviation = own[k].mean(), own[k].std()
        assert rows["gradient"]["nss_objects/pixels"][k] == pytest.approx(
            float((inside.mean() - mean) / deviation), abs=1e-5
        )
    pooled = pool_similarity(rows, "grad_cam")
    for resolution in ("pixels", "blurred"):
        mean = float(rows["gradient"][f"pcc_fem/{resolution}"].mean())
        for one, other in (("gradient", "fem"), ("fem", "gradient")):
            assert pooled[one][f"pair_{resolution}/{other}"] == pytest.approx(mean, abs=2e-3)  # maps are in float16
    less = (rows["gradient"]["sim_fem/pixels"] - rows["grad_cam"]["sim_fem/pixels"]).mean()
    assert pooled["gradient"]["sim_fem.less_grad_cam/pixels"] == pytest.approx(float(less))
    assert "pcc_fem.less_grad_cam/pixels" not in pooled["grad_cam"]


def test_class_sensitivity_by_hand(subject: Subject, tmp_path: Path) -> None:
    method = Gradient(subject.network, "sum")
    measure_class_sensitivity(cell(tmp_path), subject, method, {"second": 1, "lowest": -1}, chunk=4)
    rows, inputs = rows_of(tmp_path), inputs_of(subject)
    order = subject.network(inputs).argsort(1, descending=True)
    for name, place in (("second", 1), ("lowest", 3)):
        expected = pcc(method(inputs, order[:, 0]), method(inputs, order[:, place]))
        np.testing.assert_allclose(rows[f"pcc/{name}"], expected.numpy(), atol=1e-6)
    measure_class_sensitivity(cell(tmp_path, "b"), subject, FEM(subject.network, "relu3"), {"lowest": -1}, chunk=4)
    np.testing.assert_allclose(rows_of(tmp_path, "b")["cosine/lowest"], 1, atol=1e-6)  # no class in it


def test_robustness_by_hand_and_with_the_attacks_kept(subject: Subject, tmp_path: Path, monkeypatch: Any) -> None:
    method = GuidedBackprop(subject.network)
    found = measure_robustness(cell(tmp_path), subject, method, ATTACKS, 0.2, chunk=4)
    rows, pictures = rows_of(tmp_path), scale(subject.pictures.read(range(6)).images)
    targets = subject.network(normalise(pictures)).argmax(1)
    attack = fgsm(lambda images: subject.network(normalise(images)), pictures, targets, 0.05).half().float()
    after = method(normalise(pictures + attack), targets)
    clean = top_share(method(normalise(pictures)), 0.2, seed=0)
    np.testing.assert_allclose(rows["dice/fgsm"], dice(top_share(after, 0.2, seed=1), clean).numpy(), atol=1e-6)
    classes = subject.network(normalise(pictures + attack)).argmax(1)
    np.testing.assert_array_equal(rows["turned/fgsm"], (classes != targets).numpy())
    assert rows["turned/fgsm"].any(), "the attack turns something, or the next line tests nothing"
    anew = dice(top_share(method(normalise(pictures + attack), classes), 0.2, seed=1), clean)
    np.testing.assert_allclose(rows["dice_anew/fgsm"], anew.numpy(), atol=1e-6)
    np.testing.assert_allclose(rows["l2/fgsm"], 0.05 * np.sqrt(768), rtol=1e-3)
    np.testing.assert_allclose(rows["l2/deepfool_matched"], rows["l2/fgsm"], rtol=1e-3)
    np.testing.assert_allclose(rows["l2/noise_deepfool"], rows["l2/deepfool"], rtol=1e-5)
    monkeypatch.setattr(Attacks, "_attacks", None)  # another method finds them made
    again = measure_robustness(cell(tmp_path, "b"), subject, method, ATTACKS, 0.2, chunk=4)
    assert again.values == found.values


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (lambda network: Centre(network, "relu3"), 1.0, 1.0),
        (lambda network: FreshNoise(network, "relu1"), -0.1, 0.1),
        (lambda network: Gradient(network), -0.3, 0.9),
    ],
    ids=["centre", "fresh noise", "gradient"],
)
def test_sanity_of_controls(
    subject: Subject, tmp_path: Path, make: Callable[[nn.Module], Method], low: float, high: float
) -> None:
    measure_sanity(cell(tmp_path), subject, make, stages=3, seed=0, chunk=4)
    rows = rows_of(tmp_path)
    stages = [name for name in rows if name.startswith("rank_absolute/")]
    assert stages == [f"rank_absolute/{name}" for name in
                      ("top_down-01", "top_down-02", "top_down-04", "bottom_up-01", "bottom_up-02")]  # fmt: skip
    means = rows[["rank_absolute_left/top_down", "rank_absolute_left/bottom_up"]].mean()
    assert (means >= low - 1e-9).all() and (means <= high + 1e-9).all()
    np.testing.assert_allclose(
        rows["ssim_left/bottom_up"], rows[["ssim/bottom_up-01", "ssim/bottom_up-02"]].mean(axis=1)
    )


def test_nothing_is_left_of_a_map_that_becomes_constant(subject: Subject, tmp_path: Path) -> None:
    def make(network: nn.Module) -> Method:
        if network is not subject.network:
            for parameter in list(network.parameters())[-2:]:
                parameter.data.zero_()  # the logits no longer depend on the image
        return Gradient(network)

    measure_sanity(cell(tmp_path), subject, make, stages=2, seed=0, chunk=4)
    rows = rows_of(tmp_path)
    assert rows[[name for name in rows if name.startswith("ssim/")]].isna().all(axis=None)
    for measure in ("ssim", "rank_absolute", "rank_signed"):
        assert (rows[f"{measure}_left/top_down"] == 0).all() and (rows[f"{measure}_left/bottom_up"] == 0).all()
    assert (rows["constant/top_down"] == 1).all()


def test_an_image_whose_own_map_is_constant_says_nothing(subject: Subject, tmp_path: Path) -> None:
    def make(network: nn.Module) -> Method:
        if network is subject.network:
            network = deepcopy(network)
            for parameter in list(network.parameters())[-2:]:
                parameter.data.zero_()
        return Gradient(network)

    measure_sanity(cell(tmp_path), subject, make, stages=2, seed=0, chunk=4)
    rows = rows_of(tmp_path)
    assert rows[["rank_absolute_left/top_down", "constant/top_down"]].isna().all(axis=None)


def test_shattering_by_depth(subject: Subject, tmp_path: Path) -> None:
    def network(depth: int) -> nn.Module:
        return deep_network(depth, channels=8, n_classes=4)

    methods = {"gradient": Gradient, "fem": lambda network: FEM(network, "last")}
    for name, make in methods.items():
        measure_shattering(cell(tmp_path, name), subject, network, make, [1, 12], [1, 3], 3, 12, chunk=2)
    rows = {name: rows_of(tmp_path, name) for name in methods}
    assert list(rows["fem"]["id"]) == ["p0 to p1", "p2 to p3", "p4 to p5"]
    pooled = pool_shattering(rows, "gradient")
    assert pooled["gradient"]["lag1/12"] < pooled["gradient"]["lag1/01"] - 0.1 or np.isnan(
        pooled["gradient"]["lag1/01"]
    )
    assert pooled["fem"]["lag1/12"] > pooled["gradient"]["lag1/12"]
    less = rows["fem"]["lag3/12"] - rows["fem"]["lag3/01"]
    assert pooled["fem"]["lag3.less_shallowest/12"] == pytest.approx(float(less.mean()))


def test_pooled_metrics_leave_out_broken_images() -> None:
    frame = pd.DataFrame({"image": [0, 1, 2], "id": list("abc"), "broken": [False, True, False], "label": [1.0, 2, 3],
                          "x/y": [1.0, np.nan, 3.0]})  # fmt: skip
    found = pool_metrics({"a": frame, "b": frame.assign(**{"x/y": [0.0, 9.0, 1.0]})}, ["b", "c"])
    assert found["a"]["x/y"] == 2 and found["a"]["x.less_b/y"] == 1.5 and "x.less_b/y" not in found["b"]
    assert not [name for name in found["a"] if "label" in name or "image" in name]
