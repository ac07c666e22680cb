# SPDX-License-Identifier: Apache-2.0
"""Images as users have them: what each becomes, and what is refused with which sentence."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mhex_nlp.inputs.images import iterate_images, load_image

GREY = np.tile(np.arange(0, 200, 10, dtype=np.uint8), (12, 1))  # 12 rows, 20 columns


def file_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PICTURE = Image.fromarray(np.dstack([GREY, GREY + 20, GREY + 40]))


@pytest.mark.parametrize("kind", ["pil", "path", "str", "bytes", "array", "mapping", "mapping of a path"])
def test_every_source_gives_the_same_pixels(kind, tmp_path):
    path = tmp_path / "scan.png"
    PICTURE.save(path)
    source = {
        "pil": PICTURE,
        "path": path,
        "str": str(path),
        "bytes": path.read_bytes(),
        "array": np.asarray(PICTURE),
        "mapping": {"bytes": path.read_bytes(), "path": "folder/scan.png"},
        "mapping of a path": {"bytes": None, "path": str(path)},
    }[kind]
    loaded = load_image(source)
    assert (np.asarray(loaded.image) == np.asarray(PICTURE)).all()
    assert loaded.size == (20, 12) and loaded.notes == ()
    assert loaded.name == ("scan.png" if kind in ("path", "str", "mapping", "mapping of a path") else None)
    assert loaded.sha256 == load_image(PICTURE).sha256


def test_a_file_is_called_by_its_name(tmp_path):
    path = tmp_path / "scan\n7.png"
    path.write_bytes(file_bytes(PICTURE)[:60])
    for source in (path, {"bytes": None, "path": str(path)}, {"bytes": path.read_bytes(), "path": str(path)}):
        with pytest.raises(ValueError, match=r"^image 3 'scan\\n7.png' is broken or cut off"):
            load_image(source, id="3")
    path.write_bytes(file_bytes(Image.new("I;16", (4, 4))))
    with pytest.raises(ValueError, match=r"^image 'scan\\n7.png' has values of more than 8 bits"):
        load_image(path)


def test_an_orientation_tag_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(file_bytes(PICTURE, "JPEG", exif=exif, quality=100))
    assert loaded.size == (12, 20) and loaded.notes == ("Turned upright, as its orientation tag says.",)
    assert abs(np.asarray(loaded.image, int) - np.rot90(np.asarray(PICTURE), -1)).max() < 12


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr", "La", "RGBa"])
def test_other_modes_become_rgb_and_say_so(mode):
    loaded = load_image(PICTURE.convert(mode) if mode != "La" else PICTURE.convert("LA").convert("La"))
    assert loaded.image.mode == "RGB" and f"Converted from mode {mode} to RGB" in loaded.notes[0]


def test_transparent_parts_lie_over_white():
    values = np.zeros((4, 4, 4), np.uint8)
    values[:2, :, 3] = 255
    loaded = np.asarray(load_image(values).image)
    assert (loaded[:2] == 0).all() and (loaded[2:] == 255).all()
    keyed = load_image(file_bytes(Image.new("RGB", (4, 4)), transparency=(0, 0, 0)))
    assert (np.asarray(keyed.image) == 255).all() and "transparent parts over white" in keyed.notes[0]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32, np.float64])
def test_deep_values_need_a_window(dtype):
    deep = (np.arange(240).reshape(12, 20) * 100).astype(dtype)
    with pytest.raises(ValueError, match=r"more than 8 bits.*give window=\(black, white\)"):
        load_image(deep)
    shown = np.asarray(load_image(deep, window=(0, 10_000)).image)
    assert (shown[..., 0] == np.round(np.clip(deep / 10_000, 0, 1) * 255)).all()


def test_a_deep_file_is_read_by_its_window():
    deep = np.arange(240, dtype=np.uint16).reshape(12, 20) * 200
    source = file_bytes(Image.fromarray(deep))
    with pytest.raises(ValueError, match="image 7 has values of more than 8 bits"):
        load_image(source, id="7")
    loaded = load_image(source, window=(0, 40_000))
    assert loaded.notes == ("Values from 0 to 40000 shown as black to white.",)
    assert (np.asarray(loaded.image)[..., 0] == np.round(np.clip(deep / 40_000, 0, 1) * 255)).all()


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (b"", ValueError, "must be an image, got an empty file"),
        (b"hello", ValueError, "a file of no format that is known"),
        (file_bytes(PICTURE)[:60], ValueError, "broken or cut off"),
        (file_bytes(PICTURE, "JPEG")[:-60], ValueError, "broken or cut off"),
        (np.random.rand(8, 8, 3), ValueError, "values of uint8, 0 to 255, got float64"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"\(H, W\), \(H, W, 3\) or \(H, W, 4\)"),
        (np.zeros((0, 8), np.uint8), ValueError, "with pixels"),
        (np.full((8, 8), np.nan), ValueError, "more than 8 bits, or floats"),
        ({"bytes": None, "path": None}, ValueError, "must have bytes or a path"),
        ("/nowhere/x.png", FileNotFoundError, "path of a file"),
        (7, TypeError, "must be a PIL image, a path"),
        ("a" * 5000, FileNotFoundError, "path of a file, got 'a{199}, where"),
        ({"image": PICTURE}, TypeError, "got dict; of a dataset, give its Image column"),
        (np.zeros((2, 8, 8, 3), np.uint8), ValueError, "several images come in a list"),
        (np.zeros((0, 8)), ValueError, "with pixels"),
        (Image.new("I;16N", (4, 4)), ValueError, r"give window=\(black, white\)"),
        (Image.new("F", (0, 4)), ValueError, "must have pixels, got 0 x 4"),
        (torch.zeros(8, 8, requires_grad=True), TypeError, "values that numpy can read, .* Tensor of torch.float32"),
    ],
)
def test_what_is_no_image_gets_one_sentence(source, error, says):
    with pytest.raises(error, match=says) as caught:
        load_image(source)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about tags
@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "JPEG", "WEBP"])
def test_a_damaged_file_is_read_or_refused_in_a_sentence(kind):
    """Whatever Pillow raises of it, at once or as it looks for further frames."""
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"GIF": {"save_all": True, "append_images": [PICTURE.rotate(180)]}, "TIFF": {}}.get(kind, {"exif": exif})
    whole, draw = file_bytes(PICTURE, kind, **more), np.random.default_rng(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole[: draw.integers(1, len(whole))] if number % 2 else whole)
        for _ in range(4 * (1 - number % 2)):
            damaged[draw.integers(len(damaged))] = draw.integers(256)
        try:
            load_image(bytes(damaged), id="7")
        except ValueError as error:
            refused += 1
            assert str(error).startswith("image 7 ") and "\n" not in str(error)
    assert refused > 30


@pytest.mark.parametrize(("tag", "turned"), [(0, False), (1, False), (3, True), (8, True), (9, False)])
def test_only_a_tag_that_turns_is_noted(tag, turned):
    exif = Image.Exif()
    exif[0x0112] = tag
    assert bool(load_image(file_bytes(PICTURE, exif=exif)).notes) is turned


def test_the_frame_that_is_read_is_named():
    frames = [PICTURE.rotate(angle) for angle in (90, 180, 270)]
    moving = Image.open(io.BytesIO(file_bytes(PICTURE, "GIF", save_all=True, append_images=frames)))
    assert load_image(moving).notes[0] == "Read its first of 4 frames."
    moving.seek(2)
    assert load_image(moving).notes[0] == "Read its number 3 of 4 frames."


def deep_colour(kind: str) -> bytes:
    """A file of 4 x 3 pixels with 16 bits a colour, which Pillow cannot write."""
    if kind == "ppm":
        return b"P6 4 3 65535\n" + np.full(36, 1000, ">u2").tobytes()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    colours = {"grey": (0, 1), "rgb": (2, 3), "grey over": (4, 2), "rgba": (6, 4)}[kind]
    rows = zlib.compress(3 * (b"\0" + np.full(4 * colours[1], 1000, ">u2").tobytes()))
    head = struct.pack(">IIBBBBB", 4, 3, 16, colours[0], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["rgb", "rgba", "grey over", "ppm"])
def test_deep_colours_are_cut_to_8_bits_and_say_so(kind):
    assert "Read 8 of its 16 bits a colour." in load_image(deep_colour(kind)).notes
    with pytest.raises(ValueError, match="^image must have grey values, or 8 bits a colour, for a window"):
        load_image(deep_colour(kind), window=(0, 2000))
    assert (np.asarray(load_image(deep_colour("grey"), window=(0, 2000)).image) == 128).all()


@pytest.mark.parametrize(
    ("window", "error"),
    [((5, 5), ValueError), ((9, 1), ValueError), ((0, float("nan")), ValueError), ((1,), ValueError)]
    + [(5, TypeError), ((None, 1), TypeError), ("ab", ValueError), ("12", ValueError)],
)
def test_a_window_out_of_order_is_refused(window, error):
    with pytest.raises(error, match="window must be two values, black before white"):
        load_image(PICTURE, window=window)


def test_a_folder_is_read_in_order_with_its_folders(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.PNG", "b/1.jpg", "c.ppm"):
        PICTURE.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert [path.name for path in iterate_images(tmp_path)] == ["a.PNG", "1.jpg", "2.png", "c.ppm"], "as jobs read it"
    assert list(iterate_images(image for image in [PICTURE])) == [PICTURE]
    with pytest.raises(TypeError, match="several images, got one bytes: put it into a list"):
        iterate_images(b"")
    with pytest.raises(TypeError, match="several images, got a BytesIO: give the bytes in a file"):
        iterate_images(io.BytesIO(b"x"))
    with pytest.raises(TypeError, match="got one dict: give the Image column of a split"):
        iterate_images({"train": []})
    with pytest.raises(ValueError, match="with none"):
        (tmp_path / "empty").mkdir()
        iterate_images(tmp_path / "empty")
