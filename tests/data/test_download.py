"""The explicit download: one message and status 2 without a network, nothing fetched that is there."""

import runpy
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from xcnn.data.download import main


def tree(root: Path) -> None:
    """MNIST in miniature: one black digit, a zero, in each part."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            bytes((0, 0, 8, 3, *(0, 0, 0, 1), *(0, 0, 0, 28) * 2)) + bytes(784)
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, *(0, 0, 0, 1), 0)))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that is asked for; none answers."""
    asked = []

    def refuse(request: urllib.request.Request, *args: object, **kwargs: object) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return asked


@pytest.mark.parametrize(("name", "title"), [("cifar10", "CIFAR-10"), ("mnist", "MNIST")])
def test_without_network_says_so_and_leaves_with_2(
    tmp_path: Path, no_network: list[str], capsys: pytest.CaptureFixture[str], name: str, title: str
):
    assert main([name, "--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"cannot download {title} to {tmp_path} (")
    assert "Name or service not known" in error
    assert "XCNN_DATA" in error
    assert no_network


def test_what_is_there_is_not_fetched(tmp_path: Path, no_network: list[str], capsys: pytest.CaptureFixture[str]):
    tree(tmp_path)
    assert main(["mnist", "--root", str(tmp_path)]) == 0
    assert f"MNIST is already there, below {tmp_path}." in capsys.readouterr().out
    assert no_network == []


def test_a_damaged_file_is_named_with_the_remedy(
    tmp_path: Path, no_network: list[str], capsys: pytest.CaptureFixture[str]
):
    tree(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(b"")
    assert main(["mnist", "--root", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "train-labels-idx1-ubyte is damaged" in message and "Delete it and run `make data-mnist`" in message


def test_root_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]):
    tree(tmp_path)
    monkeypatch.setenv("XCNN_DATA", str(tmp_path))
    assert main(["mnist"]) == 0


def test_shapes_need_no_download(tmp_path: Path, no_network: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["shapes", "--root", str(tmp_path)]) == 0
    assert "nothing to download" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == no_network == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # runpy's, because this file imports the module too
def test_command_leaves_with_the_status_of_main(
    tmp_path: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["download", "mnist", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("xcnn.data.download", run_name="__main__")
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
