"""Experiments from the command line: every configuration composes, cells are kept, errors are one message."""

import functools
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import xcnn.launch.run as launcher
from tests.conftest import TINY, tree
from xcnn.errors import UserError
from xcnn.fingerprint import differences, fingerprint
from xcnn.launch import launch
from xcnn.launch.compose import (
    AMOUNTS,
    CONF,
    OFFERED,
    PLACE,
    build,
    cell_of,
    compose,
    experiments,
    settings,
)
from xcnn.report.provenance import REPOSITORY


def experiment(identity: str) -> ModuleType:
    """The module of an experiment, as `python -m experiments.<paper>.<name>` has it."""
    return importlib.import_module(f"experiments.{identity.replace('/', '.')}")


def run(monkeypatch: pytest.MonkeyPatch, identity: str, *arguments: str) -> None:
    module = experiment(identity)
    monkeypatch.setattr(sys, "argv", [str(module.__file__), *arguments])
    steps = {name: getattr(module, name, None) for name in ("afterwards", "pool")}
    launch(module.__file__ or "", module.measure, module.summarise, **steps)


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], identity: str, *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, identity, *arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("error:") == 1 and "Traceback" not in message
    return message


@pytest.mark.parametrize("identity", experiments())
def test_every_configuration_composes_to_plain_settings(identity: str) -> None:
    cfg = compose(identity)
    found = settings(cfg)
    assert json.loads(json.dumps(found)) == found
    assert not {*PLACE, *AMOUNTS, *OFFERED} & found.keys() and "root" not in found["data"]
    cell = cell_of(cfg)
    assert cell.experiment == identity and cell.labels["seed"] == 0


def test_places_devices_and_loggers_are_no_part_of_the_settings() -> None:
    base = settings(compose("deconvolve/ablation"))
    moved = compose(
        "deconvolve/ablation",
        ["paths.runs=/elsewhere", "data.root=/data", "logger=wandb", "trainer.accelerator=gpu", "trainer.devices=4"],
    )
    assert settings(moved) == base
    for change in ("trainer.precision=32-true", "training.optimizer.lr=0.1", "seed=1", "data.train_size=10"):
        assert settings(compose("deconvolve/ablation", [change])) != base


def test_what_a_network_offers_is_a_setting_where_an_explainer_reads_it() -> None:
    def found(identity: str, *overrides: str) -> dict[str, Any]:
        return settings(compose(identity, list(overrides)))

    for chosen in ("kmex", "protopnet"):
        base = found("self_explanation/table2", "recipe=shapes", f"prototypes={chosen}")
        other = found("self_explanation/table2", "recipe=shapes", f"prototypes={chosen}", "blocks=[relu1,relu2]")
        unread = found("self_explanation/table2", "recipe=shapes", f"prototypes={chosen}", "cam_layer=relu2")
        assert unread == base != other
    layers = [found("pixel_ablation_cam/table1", f"cam_layer={layer}") for layer in ("layer3", "layer4")]
    assert [each["attribution"]["layer"] for each in layers] == ["layer3", "layer4"]
    group = ("recipe=animals", "figure.group=cats")
    base = found("self_explanation/figure2", *group)
    assert found("self_explanation/figure2", *group, "groups.cats=[lion]") != base
    assert found("self_explanation/figure2", *group, "groups.dogs=[Chihuahua]") == base


def test_settings_name_a_class_not_its_module_and_hold_no_amounts_but_a_protocol() -> None:
    found = settings(compose("pixel_ablation_cam/table1"))
    assert found["attribution"] == {"class": "GradCAM", "layer": "layer4"} and found["data"]["class"] == "ImageNetVal"
    assert "xcnn." not in json.dumps(found) and found["protocol"] == 1
    for amounts in ("batch=4", "chunk=80"):
        assert settings(compose("pixel_ablation_cam/table1", [amounts])) == found
    assert settings(compose("pixel_ablation_cam/table1", ["protocol=2"])) != found
    assert settings(compose("pixel_ablation_cam/complexity", ["batch=4"]))["pictures"] == 4  # costs depend on it


def test_what_a_cell_uses_of_other_configurations_is_a_setting_of_it() -> None:
    def found(*overrides: str) -> dict[str, Any]:
        return dict(cell_of(compose("pixel_ablation_cam/figure3", list(overrides)), overrides).settings)

    base = found()
    assert list(base["variants"]) == [
        f"attribution={name}" for name in ("grad_cam", "pixel_ablation_cam", "centre", "random")
    ]
    assert base["variants"]["attribution=grad_cam"]["class"] == "GradCAM"
    assert found("figure.controls=[centre]")["variants"].keys() < base["variants"].keys()
    prototypes = cell_of(compose("self_explanation/figure1", ["prototypes.per_class=7"]), ["prototypes.per_class=7"])
    assert prototypes.settings["variants"]["prototypes=b34"]["per_class"] == 7
    assert "variants" not in cell_of(compose("self_explanation/table2")).settings


def committed() -> list[Path]:
    return sorted((REPOSITORY / "results").glob("*/*.runs.jsonl"))


def _take_hashes(settings: Any, recorded: Any) -> None:
    for key, value in settings.items():
        if key == "hash" and "file" in settings:
            settings["hash"] = recorded["hash"]
        elif isinstance(value, dict) and isinstance(recorded.get(key), dict):
            _take_hashes(value, recorded[key])


@functools.cache
def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measured_cells(path: Path) -> dict[str, dict[str, Any]]:
    """The last record of each cell that was measured, not pooled from others, by name."""
    return {record["cell"]: record for record in records(path) if "pooled" not in record["details"]}


def own_overrides(record: Mapping[str, Any]) -> list[str]:
    return [override for override in record["overrides"] if not override.startswith(("experiment=", "identity="))]


@functools.cache
def chosen_cells() -> dict[Path, list[str]]:
    """So many cells that each choice of a group (`attribution=fem`) is held, and each other override by experiment.

    Composing a configuration takes a quarter of a second.
    """
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    held = set[tuple[Path | None, str]]()
    chosen: dict[Path, list[str]] = {}
    for path in committed():
        chosen[path] = []
        for name, record in measured_cells(path).items():
            told = [override for override in own_overrides(record) if not override.startswith(("seed=", "cell="))]
            holds = {(None if override.split("=")[0] in groups else path, override) for override in (*told, "")}
            if not holds <= held:
                held |= holds
                chosen[path].append(name)
    return chosen


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", committed(), ids=lambda path: f"{path.parent.name}/{path.stem.split('.')[0]}")
def test_the_fingerprint_of_every_committed_record_is_that_of_todays_configuration(path: Path, every: bool) -> None:
    """A changed fingerprint would refuse every finished cell; a restated record says what it was before."""
    cells = measured_cells(path)
    for name in cells if every else chosen_cells()[path]:
        record, own = cells[name], own_overrides(cells[name])
        cell = cell_of(compose(record["experiment"], own), own)
        if record["settings"]["protocol"] < cell.settings["protocol"]:  # to be measured again, as its page says
            assert record["fingerprint"] == fingerprint(record["settings"])
            continue
        today = json.loads(json.dumps(cell.settings))
        _take_hashes(today, record["settings"])  # which need the files
        assert differences(record["settings"], today) == []
        assert record["fingerprint"] == fingerprint(today), record["cell"]
        assert cell.name == record["cell"]
    for record in records(path):
        if "pooled" in record["details"]:
            members = {cell: cells[cell]["fingerprint"] for cell in record["details"]["pooled"]}
            assert record["details"]["pooled"] == members
            assert record["fingerprint"] == fingerprint({"settings": record["settings"], "members": members})


def test_weights_are_told_apart_by_name_and_content_not_by_place(places: Path) -> None:
    def found(folder: str) -> dict[str, Any]:
        return settings(compose("demo/shapes", ["model=resnet18", f"paths.data={places / folder}"]))

    for folder, content in (("here", b"1"), ("there", b"1"), ("other", b"2")):
        (places / folder / "weights").mkdir(parents=True)
        (places / folder / "weights" / "resnet18.safetensors").write_bytes(content)
    assert found("here") == found("there") != found("other")
    assert found("here")["model"]["weights"]["file"] == "resnet18.safetensors"
    assert found("absent")["model"]["weights"]["hash"] is None
    assert str(places) not in json.dumps(found("here"))


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_composes_and_says_which_command_gets_its_weights(path: Path, places: Path) -> None:
    cfg = compose("demo/shapes", [f"model={path.stem}"])
    assert cfg.network == path.stem
    if cfg.model.get("weights"):
        command = f"make weights-{Path(cfg.model.weights).stem.replace('_', '-')}"
        assert f"{command.removeprefix('make ')}:" in (REPOSITORY / "Makefile").read_text()
        with pytest.raises(UserError, match=rf"no weights at .*Run `{command}`"), torch.device("meta"):
            build(cfg.model)
        with torch.device("meta"):
            network = build(cfg.model, weights=None)
        assert {cfg.cam_layer, *cfg.layers} <= dict(network.named_modules()).keys()
        assert build(cfg.preprocessing).crop == cfg.preprocessing.get("crop", 224)


def test_files_are_settings_by_their_content(tmp_path: Path) -> None:
    listed = tmp_path / "here" / "images.txt"
    listed.parent.mkdir()
    listed.write_text("a")
    found = [settings(compose("pixel_ablation_cam/table1", [f"data.files={listed}"]))]
    moved = tmp_path / "images.txt"
    moved.write_text("a")
    found.append(settings(compose("pixel_ablation_cam/table1", [f"data.files={moved}"])))
    listed.write_text("b")
    found.append(settings(compose("pixel_ablation_cam/table1", [f"data.files={listed}"])))
    assert found[0] == found[1] != found[2]
    assert found[0]["data"]["files"]["file"] == "images.txt"


def test_an_unknown_experiment_and_an_unknown_choice_list_those_there_are() -> None:
    with pytest.raises(UserError, match=r"unknown experiment 'deconvolve/table9'; there are: .*deconvolve/table1"):
        compose("deconvolve/table9")
    with pytest.raises(UserError, match="literal"):
        compose("deconvolve/ablation", ["penalty=strict"])


def test_a_sweep_is_resumable_and_refuses_changed_settings(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = [*TINY, "sweep=methods", "penalty=none,literal", "seed=0,1"]
    run(monkeypatch, "deconvolve/ablation", *sweep, "seed=0")  # part of it, as after an interruption
    first = tree(places / "runs")
    done = [name for name in first if name.endswith("result.json")]
    assert len(done) == 2
    run(monkeypatch, "deconvolve/ablation", *sweep)
    second = tree(places / "runs")
    assert all(second[name] == first[name] for name in done)
    lines = (places / "results/deconvolve/ablation.runs.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["method"], record["seed"]) for record in records] == [
        ("literal", 0), ("literal", 1), ("plain", 0), ("plain", 1),
    ]  # fmt: skip
    page = (places / "results/deconvolve/ablation.md").read_text()
    accuracy = sum(record["values"]["accuracy"] for record in records if record["method"] == "plain") / 2
    assert f"| plain | {accuracy:.3f} ± " in page

    before = tree(places)
    run(monkeypatch, "deconvolve/ablation", *sweep)
    assert tree(places) == before  # a run that finds everything done changes no file

    message = refusal(monkeypatch, capsys, "deconvolve/ablation", *sweep, "training.optimizer.lr=0.5")
    assert "training.optimizer.lr: 0.001 -> 0.5" in message and "delete" in message
    hydras = "runs/deconvolve/ablation/multirun.yaml"  # Hydra's note of what was asked for, results or none
    assert tree(places) | {hydras: b""} == before | {hydras: b""}


def test_rendering_alone_needs_no_data_and_no_runs(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "deconvolve/ablation", *TINY, "sweep=methods", "penalty=none", "seed=0")
    page = places / "results/deconvolve/ablation.md"
    rendered = page.read_bytes()
    page.unlink()
    monkeypatch.setenv("XCNN_RUNS", str(places / "other"))
    run(monkeypatch, "deconvolve/ablation", "render")
    assert page.read_bytes() == rendered


def test_an_interrupted_cell_of_many_equals_an_uninterrupted_one(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY, "sweep=methods", "penalty=literal", "seed=0"]
    run(monkeypatch, "deconvolve/ablation", *arguments)
    whole = json.loads((places / "results/deconvolve/ablation.runs.jsonl").read_text())
    monkeypatch.setenv("XCNN_RUNS", str(places / "again"))
    monkeypatch.setenv("XCNN_RESULTS", str(places / "results2"))
    run(monkeypatch, "deconvolve/ablation", *arguments)
    again = json.loads((places / "results2/deconvolve/ablation.runs.jsonl").read_text())
    assert again["values"] == whole["values"] and again["weights"] == whole["weights"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data=cifar10"], "make data-cifar10"),
        (["layers=[relu1,relu7]", "penalty=literal"], "relu2"),
        (["penalty=literal", "penalty.alpha=-1"], "alpha must be a finite number of at least 0, not -1"),
        (["penalty=literal", "penalty.alpha=nan"], "alpha must be a finite number"),
        (["penalty=strict"], "literal"),
        (["training.epochs=3"], "epochs"),
        (["sweep=nights"], "there are: methods, terms, grid"),
        (["logger.curves=[paper]", "penalty=none"], "there are: csv, wandb"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_nothing_half_written(
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    base = [] if "data=cifar10" in arguments else list(TINY)
    sweep = [] if any(argument.startswith("sweep=") for argument in arguments) else ["sweep=methods", "seed=0"]
    assert expected in refusal(monkeypatch, capsys, "deconvolve/ablation", *base, *sweep, *arguments)
    assert not list(places.rglob("result.json")) and not list(places.rglob("*.md"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.optimizer.lr=-1", "Invalid learning rate: -1"),
        ("trainer.precision=16", "unknown precision 16; there are: auto, 32-true, bf16-mixed"),
        ("trainer.devices=0", "devices"),
        ("batch=0", "batch must be at least 1, not 0"),
        ("chunk=0", "chunk must be at least 1, not 0"),
        ("chunk=-8", "chunk must be at least 1, not -8"),
        ("chunk=41", "chunk=41 does not hold whole batches of 8 images: choose a multiple, such as chunk=40"),
        ("fraction=abc", "fraction must be a number, such as 0.2, not 'abc'"),
        ("seed=", "seed must be a whole number, such as 0, not ''"),
        ("seed=0.5", "seed must be a whole number, such as 0, not 0.5"),
        ("trainer.channels_last=1", "trainer.channels_last must be true or false"),
        ("data.batch_size=0", "data.batch_size must be at least 1, not 0"),
        (
            "attribution=null",
            "attribution=null names no attribution; there are: ablation_cam",
        ),
        ("attribution=heat", "there is no attribution 'heat'; there are: ablation_cam"),
        ("data.sise=40", "there is no option data.sise; there are: data.size, "),
        ("attribution.sed=1", "there is no option attribution.sed; there are: attribution.seed, "),
        ("protocoll=3", "there is no option protocoll; there are: protocol, "),
        ("n_classes=7", "shapes has 10 classes, and the network 7"),
        ("cell=..", "not dots alone"),
        ("cell=.", "not dots alone"),
        pytest.param(
            "trainer=gpu",
            "sees no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_values_that_cannot_be_are_refused_with_the_remedy(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str, expected: str
) -> None:
    embedded = [*TINY, "model=conv3", "training=deconvolve", "penalty=none", "attribution=random", "cell=one"]
    embedded = [each for each in embedded if each.split("=")[0] != override.split("=")[0]]
    message = refusal(monkeypatch, capsys, "pixel_ablation_cam/table1", *embedded, override)
    assert expected in message and len(message.splitlines()) <= 3, message
    assert not list(places.rglob("result.json")) and not (places / "runs" / "result.json").exists()


def test_a_results_folder_that_cannot_be_written_is_said_before_any_work(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "results").write_text("a file where a folder should be")
    assert "paths.results=DIR" in refusal(monkeypatch, capsys, "deconvolve/ablation", *TINY)
    assert not list(places.rglob("*.ckpt"))


def test_a_diverging_cell_does_not_stop_the_others(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "sweep=methods", "penalty=none", "seed=0", "training.optimizer.lr=1e30,0.001"]
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "deconvolve/ablation", *arguments, "cell=lr${training.optimizer.lr}")
    assert stop.value.code == 1
    assert "the loss became" in capsys.readouterr().err
    records = (places / "results/deconvolve/ablation.runs.jsonl").read_text().splitlines()
    assert [json.loads(record)["cell"] for record in records] == ["lr0.001"]


def test_a_method_that_does_not_suit_the_network_does_not_stop_the_others(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A composite without a rule for convolutions refuses this network; the methods before and after it are run."""
    (lacking := places / "lacking.yaml").write_text("rules:\n  - {operation: linear, rule: epsilon}\n")
    arguments = [*TINY, "sweep=shapes", "data.test_size=8", "attribution=lrp"]
    composites = [f"attribution.composite=lrp_0,{lacking},epsilon_plus", "cell=c${hydra:job.num}"]
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "white_box/class_sensitivity", *arguments, *composites)
    assert stop.value.code == 1
    assert "composite 'lacking' has no rule for" in capsys.readouterr().err
    records = (places / "results/white_box/class_sensitivity.runs.jsonl").read_text().splitlines()
    assert [json.loads(record)["cell"] for record in records if "pooled" not in record] == ["c0", "c2"]


def test_what_a_sweep_optional_sweeps_is_said_and_the_rest_is_published(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 2's ImageNet rows need weights and data that are not here; its other sweep is another's business."""
    here = [*TINY, "model=conv3", "training=deconvolve", "penalty=none", "attribution=random", "data.test_size=null"]
    run(monkeypatch, "pixel_ablation_cam/table2", "sweep=animals", *here)
    capsys.readouterr()
    sweep = launcher._sweep  # the other sweep's cells are finished already
    with monkeypatch.context() as one:
        one.setattr(launcher, "_sweep", lambda *call: sweep(*call) if "data=imagenet_val" in call[2] else None)
        run(one, "pixel_ablation_cam/table2")
    said = capsys.readouterr()
    assert "sweep imagenet is not run: the ImageNet validation images are not there" in said.err
    page = (places / "results/pixel_ablation_cam/table2.md").read_text()
    assert "not run: no VGG-16 weights here" in page and "| random map |" in page
    for asked, absent in (
        (["pixel_ablation_cam/table2", "sweep=imagenet"], "the ImageNet validation images are not there"),
        (["self_explanation/figure1", "recipe=cub200"], "CUB-200-2011 is not there"),  # may lack it, but it is all
    ):
        with pytest.raises(SystemExit) as stop:
            run(monkeypatch, *asked)
        assert stop.value.code == 2
        assert f"error: {absent}" in capsys.readouterr().err


def test_a_recipe_s_sweeps_are_those_that_are_run(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    swept: list[list[str]] = []
    monkeypatch.setattr(launcher, "_sweep", lambda identity, measure, overrides, *_: swept.append(overrides))
    monkeypatch.setattr(launcher, "publish", lambda *_: places / "page.md")
    (places / "page.md").write_text("")
    run(monkeypatch, "self_explanation/table2", "recipe=mnist", "seed=3")
    assert [overrides[:2] for overrides in swept] == [
        ["prototypes=columns,kmex_1,kmex,b4,b34,b234", "recipe=mnist"], ["prototypes=protopnet", "recipe=mnist"]
    ]  # fmt: skip
    assert all(overrides[-1] == "seed=3" for overrides in swept)
    swept.clear()
    run(monkeypatch, "self_explanation/table2", "sweep=mnist_protopnet", "recipe=shapes")
    assert len(swept) == 1
    with pytest.raises(SystemExit):
        run(monkeypatch, "self_explanation/table2", "recipe=drawn_rows")
    swept.clear()
    run(monkeypatch, "self_explanation/scalability", "sweep=mnist")  # its cells name what each of them has
    assert "cell='${dataset}-${network}-${method}-${fit_share}-s${seed}'" in swept[0]
    swept.clear()
    run(monkeypatch, "white_box/similarity", "sweep=imagenet", "order=[fem,grad_cam]")
    assert "attribution=fem,grad_cam" in swept[0]


def test_what_cannot_be_made_is_said_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_package.py").write_text("import no_such_module_at_all\n")
    for target, cause in (
        ("broken_package.Mine", "No module named 'no_such_module_at_all'"), ("absent_package.Mine", "absent_package"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=cause) as error:
            build(OmegaConf.create({"_target_": target}))
        assert "PYTHONPATH=" in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "tree_of", "choices"),
    [
        ("stl10", "stl10", ["data.batch_size=5", "data.val_share=0.0", "training.select=null"]),
        ("cub200", "cub200", ["n_classes=3", "data.image_size=32", "data.batch_size=2", "data.val_share=0.2"]),
    ],
)
def test_table2_takes_stl10_and_cub200_once_they_are_there(
    recipe: str, tree_of: str, choices: list[str], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On trees of their shape; of the recipes only size, network and epochs are other."""
    importlib.import_module(f"tests.data.test_{tree_of}").tree(places / "data")
    small = ["model=conv3", "trainer=cpu", "trainer.progress=false", "training.max_epochs=1", "batch=4", "chunk=8"]
    run(monkeypatch, "self_explanation/table2", f"sweep={recipe}", "prototypes=columns,b4", "seed=0", *choices, *small)
    lines = (places / "results/self_explanation/table2.runs.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["cell"] for record in records] == [f"{recipe}-conv3-b4-s0", f"{recipe}-conv3-cnn-s0"]
    page = (places / "results/self_explanation/table2.md").read_text()
    value = f"/ {records[1]['values']['test']:.1f}"
    ours = [line for line in page.splitlines() if line.startswith("| CNN | ") and value in line]
    assert len(ours) == 1, page  # in the paper's own table, beside what it prints


# Those of pixel_ablation_cam explain pictures that are there (tests/test_newcomer.py, and tests of their own parts).
TRAINING = [identity for identity in experiments() if not identity.startswith("pixel_ablation_cam/")]
SELF_EXPLANATION = {
    "table1": ["prototypes=columns,kmex_1,kmex,protopnet"],
    "table2": ["prototypes=columns,kmex,b4,b34,protopnet"],
    "block_weight": ["prototypes=b4,b34,b34_sqrt,b34_equal"],
    "figure1": ["figure.picture=test-00003"],
    "figure2": ["figure.group=all", "figure.train_size=200"],
    "scalability": ["prototypes=kmex,b4", "fit_share=0.2,null", "cell=${dataset}-${method}-${fit_share}"],
}


def embedded(identity: str) -> list[str]:
    """Overrides with which an experiment runs on a thousand drawn pictures."""
    paper, name = identity.split("/")
    size = ["data.n_train=1000", "data.n_test=200", "training.max_epochs=5", "trainer.progress=false", "trainer=cpu"]
    if paper == "self_explanation":
        sweeps = compose(identity).sweeps
        sweep = "shares" if "shares" in sweeps else "shapes" if "shapes" in sweeps else next(iter(sweeps))
        stages = ["stages.warm=1", "stages.joint=1", "stages.last=1"]
        return [f"sweep={sweep}", "recipe=shapes", "seed=0", *size, *stages, *SELF_EXPLANATION[name]]
    size += ["data=shapes", "data.train_size=null"]
    cfg = compose(identity, size)
    if cfg.get("sweeps") and "methods" in cfg.sweeps:
        size += ["sweep=methods", "seed=0"]
    elif cfg.get("sweeps"):
        size.append("penalty=floored")  # the literal loss has learnt too little by then for its pictures
    if "figure" in cfg and "label" in cfg.figure:
        size.append("figure.label=car")
    if "figure" in cfg and "labels" in cfg.figure:
        size.append("figure.labels=[car]")
    return size


@pytest.mark.slow
@pytest.mark.parametrize("identity", TRAINING)
def test_every_experiment_runs_end_to_end_on_the_embedded_data(
    identity: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five epochs on 1,000 pictures: enough for some picture of a class to be right, and one to be wrong."""
    run(monkeypatch, identity, *embedded(identity))
    page = (places / "results" / f"{identity}.md").read_text()
    assert "\n# " in page and "minutes of measuring" in page
    for name in (line.split("](")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")):
        picture = (places / "results" / identity).parent / name
        assert picture.read_bytes().startswith(b"\x89PNG")
