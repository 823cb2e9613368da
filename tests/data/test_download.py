"""The explicit download: one message and status 2 without a network, nothing fetched that is there."""

import functools
import hashlib
import io
import runpy
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from email.message import Message
from pathlib import Path
from urllib.response import addinfourl

import pytest
from PIL import Image

from xcnn.data import download
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


@pytest.mark.parametrize(
    ("name", "title"),
    [("cifar10", "CIFAR-10"), ("cub200", "CUB-200-2011"), ("imagenette", "Imagenette"), ("mnist", "MNIST"),
     ("stl10", "STL10"), ("tiny-imagenet", "Tiny ImageNet")],
)  # fmt: skip
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


def tiny_imagenet(extra: str = "tiny-imagenet-200/test/note.txt") -> bytes:
    """The zip of Tiny ImageNet in miniature: one class with one image in each part."""
    picture, content = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "jpeg")
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("train/n01/images/n01_0.JPEG", "val/images/val_0.JPEG"):
            archive.writestr(f"tiny-imagenet-200/{name}", picture.getvalue())
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "val_0.JPEG\tn01\t0\t0\t63\t63\n")
        archive.writestr("tiny-imagenet-200/wnids.txt", "n01\n")
        archive.writestr("tiny-imagenet-200/words.txt", "n01\tgoldfish\n")
        archive.writestr(extra, "text")
    return content.getvalue()


class Server:
    """Answers every request with the first `sends` bytes of `content`."""

    def __init__(self, content: bytes):
        self.content, self.sends, self.asked = content, len(content), 0

    def __call__(self, request: urllib.request.Request) -> addinfourl:
        self.asked += 1
        response = addinfourl(io.BytesIO(self.content[: self.sends]), Message(), request.full_url, 200)
        response.length = len(self.content)  # type: ignore[attr-defined]  # as that of http.client
        return response


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return serve(monkeypatch, Server(tiny_imagenet()))


def serve(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    monkeypatch.setattr(urllib.request, "urlopen", server)
    expect(monkeypatch, "tiny-imagenet", hashlib.md5(server.content).hexdigest())
    return server


def expect(monkeypatch: pytest.MonkeyPatch, name: str, md5: str) -> None:
    """Let the archive of a data set be the one with this checksum."""
    source = download.SOURCES[name]
    folder, url, _ = source.fetch.args  # type: ignore[union-attr]
    fetch = functools.partial(download._archive, folder, url, md5)
    monkeypatch.setitem(download.SOURCES, name, source._replace(fetch=fetch))


def test_tiny_imagenet_is_fetched_once_and_leaves_nothing_else(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
):
    root = tmp_path / "data"
    command = ["tiny-imagenet", "--root", str(root)]
    assert main(command) == 0 and f"Tiny ImageNet is now there, below {root}." in capsys.readouterr().out
    assert main(command) == 0 and "Tiny ImageNet (1 of 200 classes) is already there" in capsys.readouterr().out
    assert server.asked == 2  # for redirections, and for the archive
    assert [path.name for path in root.iterdir()] == ["tiny-imagenet-200"]
    assert (root / "tiny-imagenet-200" / "words.txt").read_text() == "n01\tgoldfish\n"


def test_a_download_cut_short_is_one_message_and_is_fetched_again(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
):
    server.sends = 500
    command = ["tiny-imagenet", "--root", str(tmp_path)]
    assert main(command) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"cannot download Tiny ImageNet to {tmp_path} (File not found or corrupted.). Run this")
    assert not (tmp_path / "tiny-imagenet-200").exists()
    server.sends = len(server.content)
    assert main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-imagenet-200"]


def test_a_download_killed_while_unpacking_is_unpacked_anew(tmp_path: Path, server: Server):
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(server.content)
    half = tmp_path / ".tiny-imagenet-200.unpacking" / "tiny-imagenet-200"
    half.mkdir(parents=True)
    (half / "half").touch()
    assert main(["tiny-imagenet", "--root", str(tmp_path)]) == 0
    assert server.asked == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-imagenet-200"]
    assert not (tmp_path / "tiny-imagenet-200" / "half").exists()


def test_another_archive_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    expect(monkeypatch, "tiny-imagenet", "0" * 32)
    assert main(["tiny-imagenet", "--root", str(tmp_path)]) == 2
    assert "(File not found or corrupted.)" in capsys.readouterr().err
    assert not (tmp_path / "tiny-imagenet-200").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "tiny-imagenet-200/../../outside.txt", "/outside.txt"])
def test_a_zip_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    serve(monkeypatch, Server(tiny_imagenet(name)))
    assert main(["tiny-imagenet", "--root", str(tmp_path / "data")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tiny-imagenet-200"]


def test_a_folder_that_is_not_whole_is_left_alone(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "tiny-imagenet-200"
    folder.mkdir()
    (folder / "wnids.txt").write_text("n01")
    assert main(["tiny-imagenet", "--root", str(tmp_path)]) == 2
    assert f"{folder} is there, but is not whole: move or delete it" in capsys.readouterr().err
    assert server.asked == 0 and (folder / "wnids.txt").read_text() == "n01"


def cub200(extra: str = "attributes.txt") -> bytes:
    """The archive of CUB-200-2011 in miniature: one class, two images, a part; a file lies beside the folder."""
    picture, content = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 6)).save(picture, "jpeg")
    files = {
        "images.txt": b"1 001.Auk/a.jpg\n2 001.Auk/b.jpg\n",
        "image_class_labels.txt": b"1 1\n2 1\n",
        "train_test_split.txt": b"1 1\n2 0\n",
        "classes.txt": b"1 001.Auk\n",
        "bounding_boxes.txt": b"1 0.0 0.0 8.0 6.0\n2 0.0 0.0 8.0 6.0\n",
        "parts/parts.txt": b"1 back\n",
        "parts/part_locs.txt": b"1 1 2.0 2.0 1\n2 1 2.0 2.0 1\n",
        "images/001.Auk/a.jpg": picture.getvalue(),
        "images/001.Auk/b.jpg": picture.getvalue(),
    }
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in {extra: b"text", **{f"CUB_200_2011/{name}": text for name, text in files.items()}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return content.getvalue()


@pytest.fixture
def birds(monkeypatch: pytest.MonkeyPatch) -> Server:
    return serve_birds(monkeypatch, Server(cub200()))


def serve_birds(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    monkeypatch.setattr(urllib.request, "urlopen", server)
    expect(monkeypatch, "cub200", hashlib.md5(server.content).hexdigest())
    return server


def test_cub200_is_fetched_once_and_leaves_nothing_else(
    tmp_path: Path, birds: Server, capsys: pytest.CaptureFixture[str]
):
    command = ["cub200", "--root", str(tmp_path)]
    assert main(command) == 0 and f"CUB-200-2011 is now there, below {tmp_path}." in capsys.readouterr().out
    assert main(command) == 0 and "CUB-200-2011 (1 of 200 classes) is already there" in capsys.readouterr().out
    assert birds.asked == 2
    assert [path.name for path in tmp_path.iterdir()] == ["CUB_200_2011"]
    assert (tmp_path / "CUB_200_2011" / "parts" / "parts.txt").read_text() == "1 back\n"


def test_a_cub200_that_is_not_whole_is_left_alone(tmp_path: Path, birds: Server, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "CUB_200_2011").mkdir()
    assert main(["cub200", "--root", str(tmp_path)]) == 2
    assert "CUB_200_2011 is there, but is not whole: move or delete it" in capsys.readouterr().err
    assert birds.asked == 0


def test_a_tar_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    serve_birds(monkeypatch, Server(cub200("CUB_200_2011/../../outside.txt")))
    assert main(["cub200", "--root", str(tmp_path / "data")]) == 2
    assert "outside" in capsys.readouterr().err
    assert not (tmp_path / "data" / "CUB_200_2011").exists() and not list(tmp_path.rglob("outside.txt"))


def test_imagenet_says_how_to_get_it(tmp_path: Path, no_network: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["imagenet", "--root", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "those who register, at https://image-net.org/download" in message
    assert no_network == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # runpy's, because this file imports the module too
def test_command_leaves_with_the_status_of_main(
    tmp_path: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["download", "mnist", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("xcnn.data.download", run_name="__main__")
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
