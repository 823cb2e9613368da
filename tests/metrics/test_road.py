"""Imputation against a sparse direct solver and the grad-cam package; scores by hand."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix, lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics import impute, road_combined, road_scores
from xcnn.metrics.road import _coarser, _cycle, _finer, _levels, imputation_noise

THEIRS = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of the grad-cam package's


def solved(image: Tensor, removed: Tensor) -> np.ndarray:
    """The system of one image (C, H, W), an equation for each removed pixel, solved directly in float64."""
    values, gone = image.double().numpy().copy(), removed.numpy()
    height, width = gone.shape
    places = [tuple(place) for place in np.argwhere(gone)]
    number = {place: index for index, place in enumerate(places)}
    matrix, right = lil_matrix((len(places), len(places))), np.zeros((len(places), len(values)))
    for (y, x), row in number.items():
        for dy, dx in product((-1, 0, 1), repeat=2):
            beside = (y + dy, x + dx)
            if dy == dx == 0 or not (0 <= beside[0] < height and 0 <= beside[1] < width):
                continue
            weight = 1 / 12 if dy and dx else 1 / 6
            matrix[row, row] += weight
            if gone[beside]:
                matrix[row, number[beside]] -= weight
            else:
                right[row] += weight * values[:, beside[0], beside[1]]
    values[:, gone] = spsolve(csc_matrix(matrix), right).reshape(len(places), -1).T
    return values


def blobs(n: int, height: int, width: int) -> Tensor:
    """Smooth maps, as a network's last layer gives them."""
    coarse = torch.rand(n, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(height))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0]


def scattered(n: int, height: int, width: int) -> Tensor:
    return torch.rand(n, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(width))


def pictures(n: int, height: int, width: int) -> Tensor:
    return torch.randn(n, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("maps", [blobs, scattered])
@pytest.mark.parametrize("size", [(24, 24), (17, 30), (1, 40), (3, 2)])
def test_exact_solution(maps, size: tuple[int, int]) -> None:
    values, images = maps(2, *size), pictures(2, *size)
    for share in (0.2, 0.5, 0.9):
        removed = values > values.flatten(1).quantile(1 - share, dim=1)[:, None, None]
        found = impute(images, removed, tolerance=1e-11)
        for index in range(2):
            np.testing.assert_allclose(found[index], solved(images[index], removed[index]), atol=2e-10)


@pytest.mark.parametrize("kept", [(0, 0), (13, 20)])
def test_one_pixel_left_gives_its_colour_everywhere(kept: tuple[int, int]) -> None:
    images = pictures(1, 27, 40)
    removed = torch.ones(1, 27, 40, dtype=torch.bool)
    removed[0, *kept] = False
    colour = images[:, :, kept[0], kept[1], None, None].expand_as(images)
    torch.testing.assert_close(impute(images, removed, tolerance=1e-9), colour, atol=1e-8, rtol=0)


def test_plane_is_restored_away_from_the_border() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    plane = (3 * x - 2 * y + 5)[None, None]
    removed = torch.zeros(1, 40, 50, dtype=torch.bool)
    removed[:, 4:36, 3:45] = True
    found = impute(plane, removed)
    torch.testing.assert_close(found, plane, atol=2e-4, rtol=0)
    assert torch.equal(found[~removed[:, None]], plane[~removed[:, None]])


def test_float32_keeps_its_tolerance_on_a_large_region() -> None:
    images = (pictures(2, 96, 96) * 0.2 + 2).float()
    removed = blobs(2, 96, 96) > 0.3
    exact = impute(images.double(), removed, tolerance=1e-11)
    torch.testing.assert_close(impute(images, removed, tolerance=1e-5).double(), exact, atol=2e-5, rtol=0)
    assert impute(images.half(), removed).dtype == torch.float16


def test_result_does_not_depend_on_the_batch() -> None:
    images, removed = pictures(6, 40, 33).float(), torch.cat([blobs(3, 40, 33), scattered(3, 40, 33)]) > 0.6
    together = impute(images, removed)
    for index in range(6):
        alone = impute(images[index : index + 1], removed[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=0)


def test_nothing_removed_changes_nothing() -> None:
    images = pictures(2, 9, 9)
    assert torch.equal(impute(images, torch.zeros(2, 9, 9, dtype=torch.bool)), images)


@pytest.mark.parametrize("size", [(16, 16), (13, 22)])
def test_preconditioner_is_symmetric_and_positive(size: tuple[int, int]) -> None:
    fine, coarse = pictures(1, *size), pictures(1, -(-size[0] // 2), -(-size[1] // 2)).flip(1)
    torch.testing.assert_close((_coarser(fine) * coarse).sum(), (fine * _finer(coarse, torch.Size(size))).sum())
    unknown = (blobs(1, *size) > 0.3)[:, None].double()
    places = unknown.flatten().nonzero().flatten()
    units = torch.eye(unknown.numel(), dtype=torch.float64)[places].reshape(-1, 1, *size)
    matrix = _cycle(units, _levels(unknown)).flatten(1)[:, places]
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


@THEIRS
def test_the_grad_cam_package_imputes_the_same() -> None:
    imputer = pytest.importorskip("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0)
    images, removed = pictures(2, 20, 26).float(), torch.cat([blobs(1, 20, 26), scattered(1, 20, 26)]) > 0.4
    for image, gone, found in zip(images, removed, impute(images, removed, 1e-6), strict=True):
        torch.testing.assert_close(found, imputer(image, (~gone).float()), atol=2e-5, rtol=0)


@THEIRS
def test_the_grad_cam_package_scores_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("pytorch_grad_cam.metrics.road")
    monkeypatch.setattr(package.NoisyLinearImputer.__init__, "__defaults__", (0, package.neighbors_weights))
    images, maps = pictures(2, 20, 20).float(), scattered(2, 20, 20)
    weights = pictures(1, 20, 20).float()

    def network(inputs: Tensor) -> Tensor:
        return (inputs * weights).sum((2, 3))

    scores = road_scores(lambda x, _: network(x)[:, 1], images, maps, ["a", "b"], noise=0)
    theirs = package.ROADCombined([20, 40, 60, 80])(images, maps.numpy(), [lambda out: out[1]] * 2, network)
    np.testing.assert_allclose(road_combined(scores), theirs, atol=1e-3)


def test_most_relevant_pixels_go_first_in_morf_and_last_in_lerf() -> None:
    images, maps = pictures(3, 8, 8).float(), scattered(3, 8, 8)
    seen = {}

    def score(inputs: Tensor, index: Tensor) -> Tensor:
        changed = (inputs != images[index]).any(1)
        for one, gone in zip(index.tolist(), changed, strict=True):
            seen.setdefault(one, []).append(gone)
        return changed.sum((1, 2))

    scores = road_scores(score, images, maps, ["a", "b", "c"], fractions=(0.25, 0.5), batch=5)
    assert scores.tolist() == [[[16, 32], [16, 32]]] * 3
    for index, (few, many, least, more) in seen.items():
        low, middle, high = (maps[index].quantile(q) for q in (0.25, 0.5, 0.75))
        for gone, expected in ((few, maps[index] > high), (many, maps[index] > middle)):
            assert torch.equal(gone, expected)
        for gone, expected in ((least, maps[index] < low), (more, maps[index] < middle)):
            assert torch.equal(gone, expected)


def test_noise_is_the_images_own() -> None:
    images, maps = pictures(2, 16, 16).float(), blobs(2, 16, 16)
    kept = []

    def score(inputs: Tensor, index: Tensor) -> Tensor:
        kept.append(inputs)
        return index.float()

    road_scores(score, images, maps, ["a", "b"], fractions=(0.5,), noise=0.01)
    road_scores(score, images, maps, ["a", "b"], fractions=(0.5,), noise=0)
    road_scores(score, images[1:], maps[1:], ["b"], fractions=(0.5,), noise=0.01, batch=1)
    noisy, plain, *alone = kept
    torch.testing.assert_close(noisy[2:], torch.cat(alone))
    added, field = noisy - plain, 0.01 * imputation_noise(["a", "b"], images).repeat_interleave(2, 0)
    changed = (plain != images.repeat_interleave(2, 0)).any(1, keepdim=True)
    torch.testing.assert_close(added, field * changed, atol=1e-6, rtol=0)


def test_noise_is_standard_normal_and_depends_on_id_and_seed() -> None:
    fields = imputation_noise(["a", "b", "a"], torch.empty(3, 3, 64, 64))
    assert torch.equal(fields[0], fields[2]) and not torch.equal(fields[0], fields[1])
    assert not torch.equal(fields, imputation_noise(["a", "b", "a"], torch.empty(3, 3, 64, 64), seed=1))
    assert abs(float(fields[:2].mean())) < 0.03 and abs(float(fields[:2].std()) - 1) < 0.03


def test_combined_by_hand() -> None:
    scores = torch.tensor([[[0.5, 0.1], [0.9, 0.9]], [[0.5, 0.5], [0.5, 0.1]]])
    torch.testing.assert_close(road_combined(scores), torch.tensor([(0.9 - 0.3) / 2, (0.3 - 0.5) / 2]))


def test_refusals() -> None:
    images = pictures(1, 4, 4)
    with pytest.raises(UserError, match="every pixel"):
        impute(images, torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(UserError, match="booleans"):
        impute(images, torch.ones(1, 4, 4))
    with pytest.raises(UserError, match="NaN"):
        impute(images * torch.nan, torch.zeros(1, 4, 4, dtype=torch.bool))
    with pytest.raises(UserError, match="tolerance"):
        impute(images, scattered(1, 4, 4) > 0.5, tolerance=0)
    for fractions in ((), (0.5, 1.0), (0.0,)):
        with pytest.raises(UserError, match=r"in \(0, 1\)"):
            road_scores(lambda x, _: x, images, scattered(1, 4, 4), ["a"], fractions)
    with pytest.raises(UserError, match="one for each"):
        road_scores(lambda x, _: x, images, scattered(1, 4, 4), [])
    with pytest.raises(UserError, match="NaN"):
        road_scores(lambda x, _: x, images, scattered(1, 4, 4) * torch.nan, ["a"])
