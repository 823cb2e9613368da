"""The Makefile as an index, and the set-up behind its targets, with a stand-in for Python that installs nothing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.environment import ROOT
from tools.identity import experiments, target, targets

PYTHON = """#!/bin/sh
# Stands in for python: makes an "environment" that holds a copy of itself, and takes every package for installed.
echo "$*" >>"$LOG"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) touch .venv/has-uv ;;
  "-m uv --version") if [ -e .venv/has-uv ]; then echo "uv $UV_VERSION (here)"; else exit 1; fi ;;
  "-m uv pip install "*) if [ "$UV_STATUS" = kill ]; then kill -9 $PPID; fi; exit "$UV_STATUS" ;;
esac
"""
TOOLS = ("sh", "cat", "rm", "mkdir", "touch", "awk", "grep", "cut", "dirname", "cp", "sleep")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True)


def test_help_is_the_default_and_lists_every_target() -> None:
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert sorted(listed) == sorted({*targets(ROOT), *map(target, experiments(ROOT))} - {"active-environment"})


def test_help_has_a_line_of_each_experiment_by_paper() -> None:
    said = make("help").stdout
    section = said.partition("\nExperiments: ")[2].partition("\n\n")[0].splitlines()[1:]
    papers = [line.strip() for line in section if not line.startswith("  ")]
    assert papers == [
        "DeConvolve", "The demo", "Pixel Ablation-CAM", "Post-hoc self-explanation", "Clear methods",
        "White-box survey",
    ]  # fmt: skip
    (line,) = (line for line in section if "deconvolve-figure1 " in line)
    what = "figure 1: a feature map as the terms of the loss are added [four trainings of 2 epochs on 10,000 images]"
    assert line.split(maxsplit=2)[2] == what


def test_help_says_what_may_stand_beside_a_target() -> None:
    said = make("help").stdout
    for name in ("ARGS=", "LAUNCHER=slurm", "PYTHON=python", "XCNN_DATA, XCNN_RUNS, XCNN_RESULTS", "WANDB_MODE="):
        assert f"\n  {name}" in said


@pytest.mark.parametrize("name", ["deconvolve-table9", "nonsense"])
def test_unknown_target(name: str) -> None:
    asked = make(name)
    assert asked.returncode == 2 and asked.stdout == ""
    assert len(asked.stderr.splitlines()) == 1
    assert f"'{name}'" in asked.stderr and "make help" in asked.stderr
    assert all(target(identity) in asked.stderr for identity in experiments(ROOT))


def test_overrides_and_launcher_reach_the_experiment() -> None:
    planned = make("-n", "PYTHON=python", "deconvolve-ablation", "ARGS=seed=1 sweep=grid", "LAUNCHER=slurm").stdout
    assert "python -m experiments.deconvolve.ablation launcher=slurm seed=1 sweep=grid\n" in planned
    assert ".venv" not in planned.splitlines()[-1] and "tools/venv.sh" not in planned


def test_active_environment_without_the_project() -> None:
    asked = make("PYTHON=false", "test")
    assert asked.returncode == 2
    assert "false has no xcnn" in asked.stderr and "conda env create -f environment.yml" in asked.stderr


class Machine:
    """A folder with the files that the set-up reads, and a PATH with nothing but a few tools and chosen Pythons."""

    def __init__(self, root: Path):
        self.root, self.bin, self.log = root / "clone", root / "bin", root / "log"
        (self.root / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "tools" / "venv.sh", self.root / "tools")
        shutil.copy(ROOT / "requirements.lock", self.root)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        version = re.search(r"^uv==(\S+)", (self.root / "requirements.lock").read_text(), re.MULTILINE)
        assert version
        self.uv = version[1]

    def python(self, name: str, text: str = PYTHON) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def set_up(self, status: str = "0") -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        variables = {"PATH": str(self.bin), "LOG": str(self.log), "UV_STATUS": status, "UV_VERSION": self.uv}
        return subprocess.run(["sh", "tools/venv.sh"], cwd=self.root, env=variables, capture_output=True, text=True)

    @property
    def complete(self) -> bool:
        environment = self.root / ".venv"
        return (environment / ".complete").is_file() and not (environment / ".changing").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python(machine: Machine) -> None:
    machine.python("python3", "#!/bin/sh\nexit 1\n")  # too old, or without venv
    asked = machine.set_up()
    assert asked.returncode == 2 and len(asked.stderr.splitlines()) == 1
    assert "no Python >= 3.11" in asked.stderr and "python3-venv" in asked.stderr
    assert not (machine.root / ".venv").exists()


def test_set_up_from_nothing(machine: Machine) -> None:
    machine.python("python3.13", "#!/bin/sh\nexit 127\n")  # a shim with nothing behind it
    machine.python("python3")
    done = machine.set_up()
    assert done.returncode == 0, done.stderr
    assert machine.complete and "making .venv with python3 " in done.stderr
    steps = machine.log.read_text()
    assert re.search(r"^-m pip install .*--require-hashes --no-deps -r .venv/uv.txt$", steps, re.MULTILINE)
    assert re.search(r"^-m uv pip install .*--require-hashes -r requirements.lock$", steps, re.MULTILINE)
    assert steps.endswith("--no-deps --no-build-isolation --editable .\n")
    pinned = (machine.root / ".venv" / "uv.txt").read_text()
    assert pinned.startswith(f"uv=={machine.uv} ") and re.findall(r"^(\S+)==", pinned, re.MULTILINE) == ["uv"]
    assert pinned.count("--hash=sha256:") > 1


def test_update_keeps_the_environment_and_uv(machine: Machine) -> None:
    machine.python("python3")
    machine.set_up()
    (machine.root / ".venv" / "kept").touch()
    assert machine.set_up().returncode == 0 and machine.complete
    assert (machine.root / ".venv" / "kept").exists()
    assert "-m pip" not in machine.log.read_text() and "-m venv" not in machine.log.read_text()


@pytest.mark.parametrize("was_complete", [False, True])
def test_killed_set_up_is_made_anew(machine: Machine, was_complete: bool) -> None:
    machine.python("python3")
    if was_complete:
        machine.set_up()
    assert machine.set_up("kill").returncode == -9
    assert not machine.complete
    (machine.root / ".venv" / "half").touch()
    done = machine.set_up()
    assert done.returncode == 0 and machine.complete
    assert "was interrupted" in done.stderr and not (machine.root / ".venv" / "half").exists()


def test_failed_set_up_is_made_anew(machine: Machine) -> None:
    machine.python("python3")
    assert machine.set_up("2").returncode == 2
    assert not machine.complete
    assert machine.set_up().returncode == 0 and machine.complete


def test_failed_update_leaves_the_old_environment(machine: Machine) -> None:
    machine.python("python3")
    machine.set_up()
    (machine.root / ".venv" / "kept").touch()
    assert machine.set_up("2").returncode == 2
    assert machine.set_up().returncode == 0 and (machine.root / ".venv" / "kept").exists()
