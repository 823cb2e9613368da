"""The tensor data module: what an epoch shows, to whom, in which order; and how the splits are cut."""

from collections.abc import Callable, Iterable
from itertools import chain

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from xcnn.data import EpochOrder, Labelled, TensorDataModule, scale
from xcnn.data.tensors import manifest_hash
from xcnn.errors import UserError


class Numbered(TensorDataModule):
    """40 training images, each of one colour, its index; 20 test images, 100 and up; the label is the index mod 10."""

    name = "numbered"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        return numbered(range(40)), numbered(range(100, 120)), tuple("abcdefghij")


def numbered(indices: range) -> Labelled:
    values = torch.tensor(indices)
    images = values.to(torch.uint8)[:, None, None, None].repeat(1, 3, 4, 4)
    return Labelled(images, values % 10, {"object": images[:, 0]})


def indices(data: Labelled) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


def shown(order: EpochOrder, epoch: int = 0) -> list[list[int]]:
    order.set_epoch(epoch)
    return [batch.tolist() for batch in order]


def test_scale_maps_bytes_to_unit_interval_and_leaves_its_input():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    scaled = scale(images)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == [float(torch.tensor(i, dtype=torch.float32) / 255) for i in range(256)]
    assert (scaled.min(), scaled.max()) == (0, 1)
    floats = torch.full((1, 1, 1), 255.0)
    scale(floats)
    assert floats.item() == 255


def test_subset_takes_images_labels_and_masks_together():
    part = numbered(range(10)).subset(torch.tensor([7, 2]))
    assert indices(part) == part.labels.tolist() == part.masks["object"][:, 0, 0].tolist() == [7, 2]


def joined(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


@pytest.mark.parametrize("shuffle", [True, False])
def test_epoch_shows_every_image_once(shuffle: bool):
    batches = shown(EpochOrder(22, 8, shuffle))
    assert [len(batch) for batch in batches] == [8, 8, 6]
    assert sorted(joined(batches)) == list(range(22))
    assert (joined(batches) == list(range(22))) is not shuffle


def test_no_network_is_trained_on_one_image():
    for n in (33, 34, 35):
        for world_size in (1, 2):
            for rank in range(world_size):
                sizes = [len(batch) for batch in shown(EpochOrder(n, 16, True, 0, rank, world_size))]
                assert min(sizes) > 1, sizes  # BatchNorm cannot
    assert [len(batch) for batch in shown(EpochOrder(33, 16, True))] == [16, 16]
    assert {image for epoch in range(9) for image in joined(shown(EpochOrder(33, 16, True), epoch))} == set(range(33))
    assert [len(batch) for batch in shown(EpochOrder(33, 16, False))] == [16, 16, 1]
    assert [len(batch) for batch in shown(EpochOrder(3, 1, True))] == [1, 1, 1]  # as asked
    assert [len(batch) for batch in shown(EpochOrder(1, 16, True))] == [1]


def test_order_depends_on_seed_and_epoch_alone():
    fresh, used = EpochOrder(50, 8, True, seed=3), EpochOrder(50, 8, True, seed=3)
    for epoch in range(5):
        shown(used, epoch)
    torch.manual_seed(1)
    assert shown(fresh, 5) == shown(used, 5)
    assert shown(fresh, 5) != shown(fresh, 6)
    assert shown(fresh, 5) != shown(EpochOrder(50, 8, True, seed=4), 5)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("n", [48, 49, 53, 59])
def test_ranks_share_each_shuffled_batch_equally(world_size: int, n: int):
    whole = shown(EpochOrder(n, 12, True, seed=1), epoch=2)
    ranks = [shown(EpochOrder(n, 12, True, 1, rank, world_size), epoch=2) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    for step, shares in enumerate(zip(*ranks, strict=True)):
        assert len({len(share) for share in shares}) == 1
        together = joined(shares)
        assert together == whole[step][: len(together)]
        assert len(whole[step]) - len(together) < world_size
        assert len(together) == 12 or step == len(ranks[0]) - 1
    assert n - sum(len(batch) for batches in ranks for batch in batches) < 2 * world_size


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("n", [5, 12, 13, 14, 47, 49])
def test_ranks_share_file_order_without_loss_or_empty_batch(world_size: int, n: int):
    ranks = [shown(EpochOrder(n, 12, False, 0, rank, world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(batch for batches in ranks for batch in batches)
    in_steps = [image for shares in zip(*ranks, strict=True) for share in shares for image in share]
    assert in_steps == list(range(n))
    assert all(max(map(len, shares)) - min(map(len, shares)) <= 1 for shares in zip(*ranks, strict=True))


def test_length_is_the_number_of_batches():
    for n in range(3, 40):
        for shuffle in (True, False):
            order = EpochOrder(n, 6, shuffle, rank=1, world_size=3)
            assert len(order) == len(shown(order))


@pytest.mark.parametrize(
    ("n", "batch_size", "shuffle", "message"),
    [(50, 3, False, "4 processes"), (50, 10, True, "multiple of the 4"), (3, 8, True, "3 images"), (0, 8, False, "0 ")],
)
def test_order_refuses_what_does_not_divide(n: int, batch_size: int, shuffle: bool, message: str):
    with pytest.raises(UserError, match=message):
        EpochOrder(n, batch_size, shuffle, world_size=4)


def test_validation_is_cut_from_training_images_never_from_test():
    data = Numbered(val_share=0.25, seed=5)
    data.setup()
    train, val, test = indices(data.train), indices(data.val), indices(data.test)
    assert len(val) == 10
    assert sorted(train + val) == list(range(40))
    assert test == list(range(100, 120))
    again, other = Numbered(val_share=0.25, seed=5), Numbered(val_share=0.25, seed=6)
    again.setup(), other.setup()
    assert indices(again.val) == val != indices(other.val)


def test_no_validation_share_gives_no_validation_batches():
    data = Numbered()
    data.setup()
    assert indices(data.train) == list(range(40))
    assert len(data.val) == 0
    assert data.val_dataloader() == []


def test_sizes_draw_by_seed_and_keep_file_order():
    data = Numbered(train_size=12, test_size=7, val_share=0.25, seed=2)
    data.setup()
    train, val, test = indices(data.train), indices(data.val), indices(data.test)
    assert (len(train), len(val), len(test)) == (9, 3, 7)
    assert not set(train) & set(val)
    assert train == sorted(train)
    assert test == sorted(test)
    assert data.train.masks["object"][:, 0, 0].tolist() == train


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 41}, r"train_size is 41, but there are 40 images: give 1..40"),
        ({"train_size": 0}, "train_size is 0"),
        ({"test_size": 21}, r"test_size is 21, but there are 20 images"),
        ({"test_size": -1}, "test_size is -1"),
        ({"val_share": 1.0}, r"val_share must be in \[0, 1\)"),
        ({"val_share": -0.1}, r"val_share must be in \[0, 1\)"),
        ({"val_share": float("nan")}, r"val_share must be in \[0, 1\)"),
        ({"val_share": 0.99}, "no image to train on"),
        ({"val_share": 0.01}, "no image to validate on"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str):
    with pytest.raises(UserError, match=message):
        Numbered(**options).setup()


def test_batches_are_the_images_with_their_labels():
    data = Numbered(batch_size=16)
    data.setup()
    assert data.input_size == (3, 4, 4)
    batches = list(data.train_dataloader())
    assert [len(labels) for _, labels in batches] == [16, 16, 8]
    for images, labels in batches:
        numbers = (images * 255).round().long()[:, 0, 0, 0]
        assert torch.equal(images, (numbers / 255)[:, None, None, None].expand(-1, 3, 4, 4))
        assert torch.equal(labels, numbers % 10)
    tested = torch.cat([images[:, 0, 0, 0] for images, _ in data.test_dataloader()])
    assert torch.equal(tested, torch.arange(100, 120) / 255)


@pytest.mark.parametrize(
    "change",
    [
        lambda train, test: train.images[3, 1, 2, 2].add_(1),
        lambda train, test: test.images[0, 0, 0, 0].add_(1),
        lambda train, test: train.labels[0].add_(1),
        lambda train, test: test.masks["object"][0, 0, 0].add_(1),
    ],
    ids=["training pixel", "test pixel", "label", "mask"],
)
def test_manifest_changes_with_one_value(change: Callable[[Labelled, Labelled], Tensor]):
    def both() -> tuple[Labelled, Labelled]:
        train, test = numbered(range(40)), numbered(range(100, 120))
        return train, Labelled(test.images, test.labels, {"object": test.images[:, 0].clone()})

    (train, test), (changed_train, changed_test) = both(), both()
    before = manifest_hash(train, test, ("a", "b"))
    assert len(before) == 16
    assert manifest_hash(changed_train, changed_test, ("a", "b")) == before
    change(changed_train, changed_test)
    assert manifest_hash(changed_train, changed_test, ("a", "b")) != before
    assert manifest_hash(train, test, ("a", "c")) != before


def test_manifest_does_not_depend_on_what_is_drawn_from_the_data():
    small, whole = Numbered(train_size=5, val_share=0.4, seed=1), Numbered()
    small.setup(), whole.setup()
    assert small.manifest == whole.manifest == manifest_hash(*whole.load())


class Recorder(LightningModule):
    """Writes down which images each training step sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, _ = batch
        self.seen.append((self.current_epoch, (images[:, 0, 0, 0] * 255).round().int().tolist()))
        return self.layer(images[:, 0, :1, 0]).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_resumed_training_sees_what_an_uninterrupted_one_would_have(tmp_path):
    def trainer(epochs: int) -> Trainer:
        return Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    uninterrupted = Recorder()
    trainer(4).fit(uninterrupted, datamodule=Numbered(batch_size=16, seed=7))
    first = trainer(2)
    first.fit(Recorder(), datamodule=Numbered(batch_size=16, seed=7))
    first.save_checkpoint(tmp_path / "second.ckpt")
    resumed = Recorder()
    trainer(4).fit(resumed, datamodule=Numbered(batch_size=16, seed=7), ckpt_path=tmp_path / "second.ckpt")
    assert resumed.seen == [seen for seen in uninterrupted.seen if seen[0] >= 2]
    epochs = {epoch: [images for e, images in uninterrupted.seen if e == epoch] for epoch in range(4)}
    assert len({str(order) for order in epochs.values()}) == 4
    assert all(sorted(joined(order)) == list(range(40)) for order in epochs.values())
