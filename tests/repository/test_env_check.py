"""A lock or environment file that does not follow from pyproject.toml is refused, saying how."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.environment import ROOT, conda_environment, pins, stale

FILES = ("pyproject.toml", "requirements.lock", "environment.yml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def change(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is not in {file.name}"
    file.write_text(text)


def test_repository_is_fresh() -> None:
    assert stale(ROOT) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('"numpy>=999"', r"has numpy \d.*: pyproject.toml asks for numpy>=999"),
        ('"numpy>=2.0", "absent>=1"', r"has no absent: pyproject.toml asks for absent>=1"),
        ('"pandas>=2.2"', r"has numpy, which pyproject.toml no longer asks for"),
    ],
)
def test_stale_lock(root: Path, asked: str, said: str) -> None:
    change(root / "pyproject.toml", r'"numpy>=[^"]*"', asked)
    found = stale(root)
    assert len(found) == 1 and re.search(said, found[0])


@pytest.mark.parametrize("group", ["cluster", "dev"])
def test_lock_without_an_extra(root: Path, group: str) -> None:
    change(root / "pyproject.toml", rf"^{group} = \[", f'{group} = ["absent", ')
    assert any("has no absent" in line for line in stale(root))


def test_lock_without_the_build_backend(root: Path) -> None:
    change(root / "pyproject.toml", r'requires = \["hatchling[^"]*"\]', 'requires = ["hatchling>=999"]')
    assert any("has hatchling" in line for line in stale(root))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--find-links /srv/wheels",
        "-e .",
        "thing @ file:///srv/thing.whl",
        "thing==1.0",  # no hash
        "    # via -r /srv/requirements.in",
        "    # from https://packages.example/simple",
    ],
)
def test_lock_with_a_host_or_path_or_without_hashes(root: Path, line: str) -> None:
    lock = root / "requirements.lock"
    lock.write_text(f"{lock.read_text()}{line}\n")
    assert any("requirements.lock, line" in problem and line.strip() in problem for problem in stale(root))


def test_stale_environment_file(root: Path) -> None:
    change(root / "environment.yml", r"^( +- numpy==).*$", r"\g<1>0.1")
    assert stale(root) == ["environment.yml is not what pyproject.toml and requirements.lock give"]


def test_environment_file_follows_the_lock(root: Path) -> None:
    change(root / "requirements.lock", r"^numpy==\S+", "numpy==2.999")
    assert stale(root) == ["environment.yml is not what pyproject.toml and requirements.lock give"]


@pytest.mark.parametrize("name", ["requirements.lock", "environment.yml"])
def test_missing_file(root: Path, name: str) -> None:
    (root / name).unlink()
    assert stale(root) == [f"{name} is missing"]


def test_environment_file_holds_every_pin() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    content = yaml.safe_load(conda_environment((ROOT / "pyproject.toml").read_text(), lock))
    *conda, through_pip = content["dependencies"]
    assert conda == ["python >=3.11,<3.14", "pip"]
    assert through_pip["pip"] == [*pins(lock), "-e ."]
    assert len(pins(lock)) == len(re.findall(r"^\S+==", lock, re.MULTILINE))


def test_command_names_the_remedy(root: Path) -> None:
    shutil.copytree(ROOT / "tools", root / "tools")
    change(root / "environment.yml", r"^name: .*$", "name: other")
    command = [sys.executable, "-m", "tools.environment"]
    checked = subprocess.run([*command, "check"], cwd=root, capture_output=True, text=True, env=clean_environment())
    assert checked.returncode == 1
    assert "environment.yml is not what" in checked.stderr and "make lock" in checked.stderr
    subprocess.run([*command, "write"], cwd=root, check=True, capture_output=True, env=clean_environment())
    assert (root / "environment.yml").read_text() == (ROOT / "environment.yml").read_text()


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
