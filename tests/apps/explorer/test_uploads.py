"""What may come in: uploads, parameters and forms that mean ill."""

import io
import struct
import zlib
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("python_multipart", reason="uploads need python-multipart")

from fastapi.testclient import TestClient
from PIL import Image

from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.apps.explorer.pictures import PictureStore, Uploads, decoded
from xcnn.apps.explorer.state import GalleryState
from xcnn.errors import UserError
from xcnn.language import FilterEvidence
from xcnn.language.describer import Description


def encoded(size: tuple[int, int] = (40, 30), kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def grey_png(side: int) -> bytes:
    """A black PNG of side x side pixels, made without ever holding them."""
    packer = zlib.compressobj(9)
    rows = b"".join([packer.compress(bytes(side + 1)) for _ in range(side)] + [packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMB = grey_png(20_000)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def post(client: TestClient, content: bytes, name: str = "a.png", **options: object) -> int:
    return client.post("/upload", files={"file": (name, content)}, **options).status_code  # type: ignore[arg-type]


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "uploads").rglob("*.png"))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (bytes(50 * 2**20), 413),
        (BOMB, 422),
        (grey_png(4097), 422),
        (SVG, 422),
        (b"a text file", 422),
        (b"", 422),
        (encoded()[:-500], 422),
        (encoded(kind="JPEG")[:300], 422),
        (encoded(kind="GIF"), 422),
        (encoded(kind="TIFF"), 422),
    ],
    ids=["50 MB", "bomb", "too large", "svg", "text", "empty", "cut png", "cut jpeg", "gif", "tiff"],
)
def test_refused(client: TestClient, tmp_path: Path, content: bytes, status: int) -> None:
    answer = client.post("/upload", files={"file": ("a.png", content)})
    assert answer.status_code == status
    assert "Traceback" not in answer.text and "<script>" not in answer.text and str(tmp_path) not in answer.text
    assert kept(tmp_path) == []


def test_the_bomb_is_a_small_file() -> None:
    assert len(BOMB) < 400_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_taken(client: TestClient, tmp_path: Path, kind: str) -> None:
    assert post(client, encoded(kind=kind)) == 303
    assert len(kept(tmp_path)) == 1


def test_no_metadata_is_kept() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where it was taken"  # turned by 90 degrees
    image = decoded(encoded((40, 30), "JPEG", exif=exif))
    assert image.size == (30, 40) and not image.getexif() and not image.info
    assert decoded(encoded((2000, 1000))).size == (512, 256)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.png", "../../../../tmp/evil.png", "a\\..\\b.png", "\x00.png"]
)
def test_the_file_name_is_not_used(client: TestClient, tmp_path: Path, name: str) -> None:
    answer = client.post("/upload", files={"file": (name, encoded())})
    assert answer.status_code == 303
    assert [len(path.stem) for path in kept(tmp_path)] == [32]
    assert [path for path in tmp_path.rglob("*.png") if path.parent.name != "uploads"] == []
    assert "<script" not in client.get(answer.headers["location"]).text


@pytest.mark.parametrize("parameter", GalleryState.model_fields)
@pytest.mark.parametrize(
    "value", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "<script>alert(1)</script>"]
)
def test_traversal_and_script_in_every_parameter(client: TestClient, parameter: str, value: str) -> None:
    for address in ("/", "/explore.json", "/images"):
        if parameter in ("label", "page") and address != "/images":
            continue
        answer = client.get(address, params={parameter: value})
        harmless = address == "/images" and parameter in ("layer", "target", "first", "second")
        assert answer.status_code == 422 or (harmless and answer.status_code == 200), (address, answer.status_code)
        assert "<script" not in answer.text or answer.headers["content-type"] == "application/json"
        assert "root:" not in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize("name", ["../uploads/a", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "A" * 32, "0" * 31])
def test_traversal_in_a_picture(client: TestClient, name: str) -> None:
    assert client.get(f"/picture/{name}.png").status_code in (404, 422)


@pytest.mark.parametrize("state", ["image=../../etc/passwd", "unknown=1", "network=other", "n=1000", "n=%00"])
def test_state_of_an_upload(client: TestClient, tmp_path: Path, state: str) -> None:
    assert post(client, encoded(), data={"state": state}) == 422
    assert kept(tmp_path) == []


def test_unknown_things(client: TestClient) -> None:
    for query in (
        "evil=1",
        "image=test-99999",
        f"image={'0' * 32}",
        "target=unicorn",
        "first=two_generators",
        "layer=fc",
    ):
        answer = client.get(f"/explore.json?{query}")
        assert answer.status_code == 422 and answer.json()["error"], query


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}])
def test_a_form_of_another_site(client: TestClient, tmp_path: Path, headers: dict[str, str]) -> None:
    assert post(client, encoded(), headers=headers) == 403
    assert kept(tmp_path) == []


def test_uploads_are_bounded(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, most=2)
    names = [uploads.add(encoded()) for _ in range(4)]
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert uploads.read(names[-1]).size == (40, 30)
    with pytest.raises(UserError, match="upload it again"):
        uploads.read(names[0])


def test_pictures_in_memory_are_bounded() -> None:
    store = PictureStore(max_bytes=10)
    store.put({"a": b"xxxx"})
    store.put({"b": b"xxxx"})
    store.put({"a": b"xxxx"})
    store.put({"c": b"xxxx"})
    assert (store.get("a"), store.get("b"), store.get("c")) == (b"xxxx", None, b"xxxx")


def test_script_in_a_describers_reply(
    client: TestClient, network: ExplainedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "<script>alert(1)</script>"

    class Describer:
        def describe(self, evidence: FilterEvidence) -> Description:
            return Description(script, (), f"{script}model", None, None, evidence.evidence_hash)

    monkeypatch.setattr(network.explainer("relu3", "one"), "describer", Describer())
    page, found = client.get("/?n=1"), client.get("/explore.json?n=1")
    assert page.status_code == 200 and "<script" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text and "&lt;/script&gt;model" in page.text
    assert found.json()["filters"]["shown"][0]["text"] == script  # as data, which no browser runs
    assert found.headers["content-type"] == "application/json"
    for answer in (page, found):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "script-src" not in answer.headers["content-security-policy"]  # default-src 'none' stands for it
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_no_trace_is_shown(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of line 40")

    monkeypatch.setattr("xcnn.apps.explorer.explanations.attribution", broken)
    for address, status in (("/", 200), ("/explore.json", 500)):
        answer = client.get(address)
        assert answer.status_code == status
        assert status == 500 or "The rest of this page could not be made" in answer.text  # its beginning was sent
        assert "secret" not in answer.text and "Traceback" not in answer.text and "line 40" not in answer.text


def test_another_host(client: TestClient) -> None:
    assert client.get("/images", headers={"host": "rebound.example"}).status_code == 400
