"""Feedback by masks: the penalty is that of the paper, and training with it takes the weight off what is marked."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xcnn.data import Labelled, PlantedMark, Shapes, TensorDataModule
from xcnn.errors import UserError
from xcnn.training import Classifier, Feedback, FlipCrop, RightReasons, fit


class Blocks(TensorDataModule):
    """Black images of two classes; in those of class 1 both the left and the right half of the upper row are white."""

    name = "blocks"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        labels = torch.arange(32) % 2
        images = torch.zeros(32, 1, 4, 4, dtype=torch.uint8)
        images[labels == 1, :, 0] = 255
        mark = torch.zeros(32, 4, 4, dtype=torch.uint8)
        mark[labels == 1, 0, :2] = 1
        return Labelled(images, labels, {"mark": mark}), Labelled(images, labels), ("none", "row")


def blocks() -> Blocks:
    data = Blocks(batch_size=8)
    data.setup()
    return data


def test_the_penalty_of_a_linear_network_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    images = torch.rand(6, 2, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    masks = torch.rand(6, 4, 5, generator=generator) > 0.5
    masks[0] = False
    logits = torch.einsum("nchw,kchw->nk", images, weights)
    penalty, parts = RightReasons(2.5, "mark")(images, logits, masks)
    # The gradient of sum_k log p_k of a linear network is sum_k w_k - K sum_j p_j w_j.
    slope = weights.sum(0) - 3 * torch.einsum("nk,kchw->nchw", logits.softmax(1), weights)
    inside = (slope.square() * masks[:, None]).sum((1, 2, 3))
    torch.testing.assert_close(penalty, 2.5 * inside.mean())
    torch.testing.assert_close(parts["wrong_reasons"], inside.sum() / slope.square().sum())
    penalty.backward()  # it can be minimised
    assert images.grad is not None and bool(images.grad.abs().sum() > 0)


def test_images_without_a_mask_change_nothing_but_the_number_that_the_mean_is_over() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
    images, masks = torch.rand(5, 1, 4, 4), torch.zeros(5, 4, 4, dtype=torch.bool)
    masks[1, :2], masks[3, 2] = True, True
    penalty = RightReasons(2.0, "mark")
    module = Classifier(network, partial(torch.optim.Adam, lr=0.1), penalty=penalty)
    logits, value, parts = module._taught(penalty, images, masks)
    whole = images.clone().requires_grad_()
    expected, all_parts = penalty(whole, network(whole), masks)
    torch.testing.assert_close(logits, network(images))
    torch.testing.assert_close(value, expected)
    assert parts["wrong_reasons"] > all_parts["wrong_reasons"] > 0
    with_batch_norm = nn.Sequential(nn.BatchNorm2d(1), *network)
    module = Classifier(with_batch_norm, partial(torch.optim.Adam, lr=0.1), penalty=penalty)
    torch.testing.assert_close(module._taught(penalty, images, masks)[0], with_batch_norm(images))
    logits, value, parts = module._taught(penalty, images, torch.zeros_like(masks))
    assert value == 0 and parts == {} and logits.shape == (5, 3)


def trained(masks: str | None, folder: Path) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    data, penalty = blocks(), None if masks is None else RightReasons(10.0, masks)
    taught = data if penalty is None else Feedback(data, penalty.given(data))
    taught.setup()
    module = Classifier(network, partial(torch.optim.Adam, lr=0.1), penalty=penalty)
    fit(module, taught, folder, settings={"masks": masks}, provenance={}, max_epochs=10, seed=0, progress=False)
    return network


def test_training_with_masks_takes_the_weight_off_the_marked_pixels(tmp_path: Path) -> None:
    data = blocks()
    left, right = data.test.images.clone(), data.test.images.clone()
    left[:, :, 0, 2:], right[:, :, 0, :2] = 0, 0

    @torch.no_grad()
    def margin(network: nn.Module, images: torch.Tensor) -> float:
        """What the white pixels add to the difference of the logits."""
        logits = network(images[1:2] / 255) - network(images[:1] / 255)
        return float(logits[0, 1] - logits[0, 0])

    plain, taught = trained(None, tmp_path / "plain"), trained("mark", tmp_path / "taught")
    assert margin(plain, left) > 1 and margin(plain, right) > 1  # it decides by both halves
    assert margin(taught, right) > 1 and margin(taught, left) < 0.5 * margin(plain, left)


def test_masks_of_a_person_are_read_from_a_folder_and_a_share_of_them_is_given(tmp_path: Path) -> None:
    data = blocks()
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 2:] = 255
    for number in (3, 7, 12, 20):
        Image.fromarray(mask).save(tmp_path / f"train-{number:05d}.png")
    found = RightReasons(1.0, tmp_path).given(data)
    assert found.flatten(1).any(1).nonzero().flatten().tolist() == [3, 7, 12, 20]
    assert torch.equal(found[7], torch.from_numpy(mask > 0))
    half, most = (RightReasons(1.0, tmp_path, share).given(data).flatten(1).any(1) for share in (0.5, 0.75))
    assert half.sum() == 2 and most.sum() == 3 and not (half & ~most).any()
    assert torch.equal(RightReasons(1.0, "mark").given(data), data.train.masks["mark"] > 0)


def test_a_mask_of_another_size_than_its_image(tmp_path: Path) -> None:
    Image.fromarray(np.ones((5, 4), np.uint8)).save(tmp_path / "train-00001.png")
    with pytest.raises(UserError, match=r"train-00001\.png is 4 x 5 px and its image 4 x 4"):
        RightReasons(1.0, tmp_path).given(blocks())
    with pytest.raises(UserError, match="give a mask of the same size for each"):
        Feedback(blocks(), torch.zeros(32, 5, 4, dtype=torch.bool)).setup()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no masks"):
        RightReasons(1.0, tmp_path).given(blocks())
    with pytest.raises(UserError, match="nor is there such a folder; there are: mark"):
        RightReasons(1.0, "marks").given(blocks())
    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "train-00099.png")
    with pytest.raises(UserError, match="of none of the 32 training images"):
        RightReasons(1.0, tmp_path).given(blocks())
    for options in ({"strength": -1.0}, {"strength": 1.0, "share": 2.0}):
        with pytest.raises(UserError, match="strength of at least 0 and a share"):
            RightReasons(masks="mark", **options)  # type: ignore[arg-type]
    network, optimizer = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), partial(torch.optim.Adam, lr=0.1)
    with pytest.raises(UserError, match="without augmentation"):
        Classifier(network, optimizer, penalty=RightReasons(1.0, "mark"), augment=FlipCrop(padding=1))
    module = Classifier(network, optimizer, penalty=RightReasons(1.0, "mark"))
    with pytest.raises(UserError, match=r"train on Feedback\(data, masks\), not on blocks alone"):
        module.check(blocks(), 1)


def test_planted_marks_are_masks_of_a_data_set() -> None:
    source = partial(Shapes, n_train=40, n_test=20, draw_seed=0)
    data = PlantedMark(source, "car", 1.0, 4, [4, 4], [24, 24], [255, 0, 255])
    data.setup()
    marks, elsewhere = (RightReasons(1.0, name).given(data) for name in ("mark", "elsewhere"))
    assert marks.sum() == elsewhere.sum() == 4 * 16 and not (marks & elsewhere).any()
    taught = Feedback(data, marks)
    taught.setup()
    images, labels, masks = next(iter(taught.train_dataloader()))
    assert torch.equal(masks.flatten(1).any(1), labels == data.target) and images.max() <= 1
