"""VGG-16's heads for Imagenette, from a file of convolutions to a file of the whole network, on a tree of its shape."""

import json
from pathlib import Path

import pytest
import torch
import torchvision

from tests.data.test_imagenette import tree
from tests.launch.test_run import run
from xcnn.fingerprint import file_hash
from xcnn.launch import Setup
from xcnn.launch.compose import build, compose
from xcnn.models import save_weights, vgg16_for

THIN = [4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 512, "M"]  # the same layers, of fewer maps
SMALL = ("data.image_size=32", "data.batch_size=8", "training.max_epochs=2", "trainer=cpu", "trainer.progress=false")


def test_heads_are_trained_kept_and_explained(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torchvision.models.vgg.cfgs, "D", THIN)
    tree(places / "data")
    torch.manual_seed(0)
    convolutions = torch.nn.ModuleDict({"features": vgg16_for(2, None).features})
    features = places / "data" / "weights" / "vgg16_features.safetensors"
    save_weights(convolutions, features, torch.float16)
    run(monkeypatch, "pixel_ablation_cam/vgg16_imagenette", *SMALL)
    lines = (places / "results/pixel_ablation_cam/vgg16_imagenette.runs.jsonl").read_text().splitlines()
    records = {record["model"]: record for record in map(json.loads, lines)}
    assert records.keys() == {"vgg16_imagenette", "vgg16_imagenette_linear"}
    assert len(list((places / "runs" / "features").iterdir())) == 1  # one cache for both
    for name, record in records.items():
        path = features.with_name(f"{name}.safetensors")
        assert record["weights"] == file_hash(path) and record["details"]["convolutions"] == file_hash(features)
        assert (record["n"], record["details"]["train"], record["details"]["held_out"]) == (10, 18, 2)
        cfg = compose("pixel_ablation_cam/table2", [f"model={name}", "data=imagenette", "data.image_size=32"])
        network = build(cfg.model)
        for key, tensor in convolutions.state_dict().items():
            kept = tensor.half().float() if tensor.ndim > 1 else tensor
            assert torch.equal(network.state_dict()[key], kept)
        subject = Setup(cfg).explained()
        images = subject.pictures.read(range(10))
        with torch.no_grad():
            found = subject.network(subject.normalise(subject.scaled(images))).argmax(1)
        assert (found == images.labels).float().mean().item() == pytest.approx(record["values"]["accuracy"])
