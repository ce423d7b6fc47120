"""Limits on pictures from elsewhere: bytes, pixels, addresses, damaged files; and which mmproj file is a model's."""

import contextlib
import io
import socket
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from realizar.errors import GGUFError, PictureError, RealizarError, TensorError, UnknownArchitectureError
from realizar.pictures import read, remote
from realizar.pictures.beside import mmproj_beside
from realizar.pictures.projector_file import ProjectorFile
from realizar.pictures.read import pixels_of_bytes
from realizar.pictures.source import read_picture
from tests.limits.models import rewritten

from .cases import PICTURES, QWEN3


def file_of(pixels, kind="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def claiming(width, height):
    """A PNG file of a few bytes that claims a size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (20_000, 20_000), (2**30, 2**30)])
def test_a_bomb_is_refused_before_it_is_decoded(size, monkeypatch):
    decoded = []
    monkeypatch.setattr(read, "pixels_of_image", decoded.append)
    with pytest.raises(PictureError, match=r"make it smaller|cannot be read"):
        pixels_of_bytes(claiming(*size))
    assert decoded == []


def test_damaged_files_are_errors():
    """Any file that begins like a picture is read, or is a PictureError."""
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        whole = file_of(PICTURES[1], kind)
        assert pixels_of_bytes(whole).shape == PICTURES[1].shape
        for _ in range(20):
            data = bytearray(whole[: rng.integers(1, len(whole))])
            data[rng.integers(len(data))] ^= 255
            with contextlib.suppress(PictureError):
                assert pixels_of_bytes(bytes(data)).shape[2] == 3


def test_other_formats_and_large_files(monkeypatch):
    with pytest.raises(PictureError, match=r"PNG, JPEG.*of another format, or damaged") as refused:
        pixels_of_bytes(file_of(PICTURES[1], "TIFF"))
    assert " at 0x" not in str(refused.value), "clients learn no addresses in memory"
    monkeypatch.setattr(read, "MAX_BYTES", 100)
    with pytest.raises(PictureError, match="at most 100"):
        pixels_of_bytes(file_of(PICTURES[1]))


def test_a_picture_is_turned_as_its_camera_was():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    found = pixels_of_bytes(file_of(PICTURES[1], "PNG", exif=exif))
    np.testing.assert_array_equal(found, np.rot90(PICTURES[1], -1))


def test_gray_of_16_bits_is_scaled():
    gray = PICTURES[1][:, :, 0]
    data = file_of(gray.astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(pixels_of_bytes(data), np.repeat(gray[:, :, None], 3, axis=2))


def test_images_of_pillow_that_cannot_be_read():
    """Their files are decoded when their pixels are asked for."""
    truncated = Image.open(io.BytesIO(file_of(PICTURES[0])[:200]))
    closed = Image.fromarray(PICTURES[0])
    closed.close()
    for image in (truncated, closed):
        with pytest.raises(PictureError, match="cannot be read"):
            read_picture(image)
    with pytest.raises(PictureError, match=r"mode 'F'.*convert it"):
        read_picture(Image.fromarray(np.ones((4, 4), np.float32)))


class Opener:
    """Answers requests for addresses as it is told, and notes them."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def open(self, url, **_):
        self.asked.append(url)
        found = self.answers[url]
        if isinstance(found, str):
            raise remote._RedirectedError(found)
        return io.BufferedReader(io.BytesIO(found))


@pytest.fixture
def web(monkeypatch):
    answers = {
        "https://a.example/x.png": file_of(PICTURES[1]),
        "https://a.example/moved": "/x.png",
        "https://a.example/away": "http://169.254.169.254/key",
        "https://a.example/loop": "https://a.example/loop",
        "https://a.example/big": bytes(2 << 16),
    }
    opener = Opener(answers)
    monkeypatch.setattr(remote.urllib.request, "build_opener", lambda *_: opener)
    return opener


def test_remote_pictures(web, monkeypatch):
    allowed = ["https://a.example/"]
    for url in ("https://a.example/x.png", "https://a.example/moved"):
        np.testing.assert_array_equal(read_picture(url, allowed), PICTURES[1])
    with pytest.raises(PictureError, match="more than 3 redirects"):
        read_picture("https://a.example/loop", allowed)
    monkeypatch.setattr(remote, "MAX_BYTES", 1 << 16)
    with pytest.raises(PictureError, match="more than 65536 bytes"):
        read_picture("https://a.example/big", True)
    asked = len(web.asked)
    for url in ("https://b.example/x.png", "http://a.example/x.png", "https://a.example@b.example/"):
        with pytest.raises(PictureError, match=r"reads no remote pictures|is no http"):
            read_picture(url, allowed)
    assert len(web.asked) == asked, "nothing is sent"
    with pytest.raises(PictureError, match=r"169\.254.*reads no remote pictures"):
        read_picture("https://a.example/away", allowed)
    assert "http://169.254.169.254/key" not in web.asked


@pytest.mark.parametrize(
    ("scheme", "head"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nX: "), ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("https", b"\x16\x03\x03\x3f\xff"),  # the head of a TLS record of 16383 bytes
    ],
)  # fmt: skip
def test_a_server_that_never_ends_its_answer(scheme, head, monkeypatch):
    """Each byte begins the timeout of a socket anew."""
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 12)
                connection.sendall(head)
                while True:
                    connection.sendall(b"a")
                    threading.Event().wait(0.02)

        server = threading.Thread(target=drip)
        server.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(PictureError, match=r"did not arrive within 0\.1 s"):
            read_picture(url, True)
        server.join()


def test_looking_up_a_name_that_takes_too_long(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **how: [] if end.wait(60) else None)
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.1)
    with pytest.raises(PictureError, match=r"did not arrive within 0\.1 s"):
        read_picture("http://slow.example/x.png", True)
    end.set()


def test_names_without_an_address(monkeypatch):
    def unknown(*given, **how):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(PictureError, match="not known"):
        read_picture("http://nowhere.example/x.png", True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **how: [])
    with pytest.raises(PictureError, match="has no address"):
        read_picture("http://nowhere.example/x.png", True)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example.evil.example/x", "https://a.example"), ("https://a.example:8000/x", "https://a.example"),
        ("https://a.example/open/../x", "https://a.example/open/"),
        ("https://a.example/open/%2E%2e/x", "https://a.example/open/"),
        ("https://a.example/open/..\\x", "https://a.example/open/"),
    ],
)  # fmt: skip
def test_urls_that_only_seem_to_be_allowed(web, url, allowed):
    with pytest.raises(PictureError, match="reads no remote pictures"):
        read_picture(url, [allowed])
    assert web.asked == []


@pytest.mark.parametrize(
    ("files", "model", "want"),
    [
        (["mmproj-Qwen3-VL-2B-F16.gguf"], "Qwen3-VL-2B-Q4_K_M.gguf", 0),
        (["mmproj-Qwen3-VL-2B-Q8_0.gguf", "mmproj-Qwen3-VL-2B-F16.gguf"], "Qwen3-VL-2B-Q4_K_M.gguf", 1),
        (["gemma-3-4b-it.mmproj-f16.gguf"], "gemma-3-4b-it.Q8_0.gguf", 0),
        (["mmproj-F16.gguf", "mmproj-BF16.gguf"], "Qwen3-VL-2B-UD-Q4_K_XL.gguf", 0),
        (["mmproj-F16.gguf", "Qwen3-VL-2B-Q8_0.gguf"], "Qwen3-VL-2B-Q4_K_M.gguf", 0),
        (["mmproj-F16.gguf", "llama-1b-Q8_0.gguf"], "Qwen3-VL-2B-Q4_K_M.gguf", None),
        (["mmproj-Qwen3-VL-4B-F16.gguf"], "Qwen3-VL-2B-Q4_K_M.gguf", None),
        ([], "Qwen3-VL-2B-Q4_K_M.gguf", None),
    ],
)
def test_the_mmproj_file_beside_a_model(files, model, want, tmp_path):
    for name in (*files, model):
        (tmp_path / name).touch()
    assert mmproj_beside(tmp_path / model) == (None if want is None else tmp_path / files[want])


def test_a_closed_encoder():
    """A conversation of another thread may still have it."""
    encoder = QWEN3.encoder()
    encoder.close()
    with pytest.raises(RealizarError, match="is closed; make a new one"):
        encoder.parts(PICTURES)


def test_files_that_are_no_mmproj_files(tmp_path):
    with pytest.raises(GGUFError, match="a model's; an mmproj file"):
        ProjectorFile(QWEN3.model)
    rewritten(QWEN3.mmproj, tmp_path / "other.gguf", {"clip.projector_type": "perceiver"})
    with pytest.raises(UnknownArchitectureError, match=r"projector 'perceiver'.*known are .*qwen3vl_merger"):
        ProjectorFile(tmp_path / "other.gguf")
    rewritten(QWEN3.mmproj, tmp_path / "sound.gguf", {"clip.has_vision_encoder": False})
    with pytest.raises(GGUFError, match="no vision encoder"):
        ProjectorFile(tmp_path / "sound.gguf")
    with pytest.raises(GGUFError, match="use the mmproj file of this model"):
        QWEN3.encoder(n_embd=64, n_deepstack=2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_min_pixels", -5), ("image_mean", [0.5, 0.5]), ("image_std", [0.5, 0.0, 0.5]), ("patch_size", 0),
        ("attention.head_count", 3), ("spatial_merge_size", 99), ("image_size", 8), ("is_deepstack_layers", [1]),
        ("block_count", 10**6),
    ],
)  # fmt: skip
def test_invalid_metadata_are_errors(key, value, tmp_path):
    rewritten(QWEN3.mmproj, tmp_path / "bad.gguf", {f"clip.vision.{key}": value})
    with pytest.raises((GGUFError, TensorError)):
        ProjectorFile(tmp_path / "bad.gguf")


def test_a_tensor_that_no_equation_uses_is_an_error(tmp_path):
    rewritten(QWEN3.mmproj, tmp_path / "more.gguf", more={"v.blk.0.ls1.weight": np.ones(16, np.float32)})
    with pytest.raises(TensorError, match=r"v\.blk\.0\.ls1\.weight"):
        ProjectorFile(tmp_path / "more.gguf")
