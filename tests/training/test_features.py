"""A cache of features is the trunk's, survives kills and damage, refuses others' features, and heads train on it."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_fit import Bars
from xcnn.errors import UserError
from xcnn.models import Preprocessing, conv3, split_at, vgg16_for
from xcnn.training import Classifier, FeatureData, cached, fit

IMAGES = torch.randint(0, 256, (23, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
EXPECTED = IMAGES[:, :2].float() / 7
SETTINGS = {"weights": "aa", "layer": "relu1"}
PREPROCESSING = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


class Sevenths:
    """Features that are easily checked; counts the images that it was asked for, and may fail after some."""

    def __init__(self, fails_after: int = 10**9):
        self.seen: list[int] = []
        self.fails_after = fails_after

    def __call__(self, images: Tensor) -> Tensor:
        if len(self.seen) == self.fails_after:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        return images[:, :2].float() / 7


def in_chunks(folder: Path, compute: Sevenths, **options) -> Tensor:
    return cached(compute, IMAGES, folder, SETTINGS, **{"chunk": 5, "dtype": "float32", **options})


def test_computed_once_in_chunks_and_mapped(tmp_path: Path) -> None:
    first, again = Sevenths(), Sevenths()
    features = in_chunks(tmp_path, first)
    assert torch.equal(features, EXPECTED) and first.seen == [1, 5, 5, 5, 5, 3]  # one to learn the shape
    features.zero_()
    assert torch.equal(in_chunks(tmp_path, again), EXPECTED) and again.seen == []


def test_half_precision_is_rounded_to_nearest(tmp_path: Path) -> None:
    assert torch.equal(in_chunks(tmp_path, Sevenths(), dtype="float16"), EXPECTED.half())


def test_what_an_interruption_left_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        in_chunks(tmp_path, Sevenths(fails_after=3))
    again = Sevenths()
    assert torch.equal(in_chunks(tmp_path, again), EXPECTED) and again.seen == [5, 5, 3]


KILLED = """
import os, sys, torch
from tests.training.test_features import Sevenths, in_chunks
from pathlib import Path
class Killed(Sevenths):
    def __call__(self, images):
        if len(self.seen) == 3:
            os.kill(os.getpid(), 9)
        return super().__call__(images)
in_chunks(Path(sys.argv[1]), Killed())
"""


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")], capture_output=True, text=True)
    assert child.returncode == -9, child.stderr
    again = Sevenths()
    in_chunks(tmp_path / "a", again)
    in_chunks(tmp_path / "b", Sevenths())
    assert again.seen == [5, 5, 3]
    for name in ("features.bin", "settings.json", "chunks.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_damage_is_found_and_mended(tmp_path: Path) -> None:
    in_chunks(tmp_path, Sevenths())
    path, lines = tmp_path / "features.bin", tmp_path / "chunks.txt"
    content = bytearray(path.read_bytes())
    content[5 * 2 * 16 * 4 + 3] ^= 1  # of the second chunk's first image
    path.write_bytes(content[:-4])  # and the last chunk cut short
    lines.write_text(lines.read_text()[:-70])  # its line too, and the one before it
    again = Sevenths()
    assert torch.equal(in_chunks(tmp_path, again), EXPECTED) and again.seen == [5, 5, 3]
    assert torch.equal(in_chunks(tmp_path, again), EXPECTED) and again.seen == [5, 5, 3]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"settings": {"weights": "bb", "layer": "relu1"}}, "weights: 'aa' -> 'bb'"),
        ({"settings": {"weights": "aa", "layer": "relu2"}}, "layer: 'relu1' -> 'relu2'"),
        ({"images": IMAGES[:20]}, "n: 23 -> 20"),
        ({"dtype": "float16"}, "dtype: 'float32' -> 'float16'"),
    ],
)
def test_other_features_are_refused(tmp_path: Path, changed: dict, said: str) -> None:
    in_chunks(tmp_path, Sevenths())
    asked = {"images": IMAGES, "settings": SETTINGS, "chunk": 5, "dtype": "float32", **changed}
    with pytest.raises(UserError, match=f"{tmp_path} holds other features than those asked for: {said} .*delete"):
        cached(Sevenths(), folder=tmp_path, **asked)


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not finite in float16: use float32"):
        cached(lambda images: images.float() * 1000, IMAGES, tmp_path, SETTINGS)


def network() -> nn.Module:
    torch.manual_seed(0)
    return conv3(2)


@pytest.mark.parametrize("pooled", [False, True])
def test_features_of_a_data_set_are_the_trunks(tmp_path: Path, pooled: bool) -> None:
    source = Bars(batch_size=8, val_share=0.25, seed=3, train_size=40, test_size=20)
    source.setup()
    data = FeatureData(source, network(), "relu3", tmp_path, PREPROCESSING, pooled, dtype="float32")
    data.setup()
    assert data.name == "bars" and data.classes == source.classes and (len(data.val), len(data.test)) == (10, 20)
    trunk = split_at(network(), "relu3").trunk
    for name in ("train", "val", "test"):
        ours, theirs = getattr(data, name), getattr(source, name)
        expected = trunk(PREPROCESSING.normalise(theirs.images / 255))
        expected = expected.mean((2, 3), keepdim=True) if pooled else expected
        assert torch.equal(ours.labels, theirs.labels)
        torch.testing.assert_close(ours.images, expected, rtol=1e-5, atol=1e-6)
    batch, labels = next(iter(data.loader(data.test, batch_size=4)))
    assert torch.equal(batch, data.test.images[:4]) and torch.equal(labels, data.test.labels[:4])


def test_only_weights_before_the_layer_matter(tmp_path: Path) -> None:
    def features(model: nn.Module, layer: str = "relu2", preprocessing: Preprocessing | None = None) -> Tensor:
        data = FeatureData(Bars(), model, layer, tmp_path, preprocessing)
        data.setup()
        return data.train.images

    other = network()
    nn.init.zeros_(other.get_submodule("classifier").weight)
    assert torch.equal(features(network()), features(other))
    nn.init.zeros_(other.get_submodule("conv2").weight)
    with pytest.raises(UserError, match="weights: "):
        features(other)
    with pytest.raises(UserError, match="layer: 'relu2' -> 'relu1'"):
        features(network(), "relu1")
    with pytest.raises(UserError, match="normalised"):
        features(network(), preprocessing=PREPROCESSING)
    shutil.rmtree(tmp_path)
    bias = other.get_submodule("conv2").bias.detach().relu()[None, :, None, None]
    torch.testing.assert_close(features(other).float(), bias.expand(64, 64, 4, 4), rtol=1e-3, atol=1e-6)


def train(network: nn.Module, data: FeatureData, folder: Path) -> dict:
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    options = {"settings": {}, "provenance": {}, "max_epochs": 30, "seed": 0, "accelerator": "cpu", "progress": False}
    return fit(Classifier(network, adam), data, folder, **options, select="val/accuracy")


def test_a_head_is_trained_on_features_and_the_trunk_stays(tmp_path: Path) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = Bars(batch_size=16, val_share=0.25)
    data = FeatureData(source, model, "relu3", tmp_path / "features")
    head = nn.Sequential(model.get_submodule("gap"), model.get_submodule("flatten"), model.get_submodule("classifier"))
    data.setup()
    record = train(head, data, tmp_path / "head")
    with torch.no_grad():
        logits = model(source.load()[1].images / 255)
        features = head(data.test.images.float())
    torch.testing.assert_close(logits, features, rtol=1e-2, atol=1e-2)  # the cache has half precision
    assert (logits.argmax(1) == data.test.labels).float().mean() > 0.7  # chance: 0.5
    assert record["selected"]["value"] > 0.7
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("width", [None, 8])
def test_vgg16_on_features_is_vgg16_on_images(tmp_path: Path, width: int | None) -> None:
    torch.manual_seed(1)
    model, images = vgg16_for(2, width), torch.rand(1, 3, 224, 224)
    head = nn.Sequential(model.get_submodule("avgpool"), nn.Flatten(), model.get_submodule("classifier")).eval()
    with torch.no_grad():
        torch.testing.assert_close(head(split_at(model, "features.30").trunk(images)), model(images))
