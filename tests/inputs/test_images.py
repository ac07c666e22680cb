# SPDX-License-Identifier: Apache-2.0
"""Images as users have them: what each becomes, and what is refused with which sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
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


def test_an_orientation_tag_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(file_bytes(PICTURE, "JPEG", exif=exif, quality=100))
    assert loaded.size == (12, 20) and loaded.notes == ("Turned upright, as its orientation tag says.",)
    assert abs(np.asarray(loaded.image, int) - np.rot90(np.asarray(PICTURE), -1)).max() < 12


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr"])
def test_other_modes_become_rgb_and_say_so(mode):
    loaded = load_image(PICTURE.convert(mode))
    assert loaded.image.mode == "RGB" and f"Converted from mode {mode} to RGB" in loaded.notes[0]


def test_transparent_parts_lie_over_white():
    values = np.zeros((4, 4, 4), np.uint8)
    values[:2, :, 3] = 255
    loaded = np.asarray(load_image(values).image)
    assert (loaded[:2] == 0).all() and (loaded[2:] == 255).all()


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
    ],
)
def test_what_is_no_image_gets_one_sentence(source, error, says):
    with pytest.raises(error, match=says) as caught:
        load_image(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("window", [(5, 5), (9, 1), (0, float("nan")), (1,)])
def test_a_window_out_of_order_is_refused(window):
    with pytest.raises(ValueError, match="window must be two values, black before white"):
        load_image(PICTURE, window=window)


def test_a_folder_is_read_in_order_with_its_folders(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.PNG", "b/1.jpg"):
        PICTURE.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert [path.name for path in iterate_images(tmp_path)] == ["a.PNG", "1.jpg", "2.png"]
    assert list(iterate_images(image for image in [PICTURE])) == [PICTURE]
    with pytest.raises(TypeError, match="several images, got one bytes: put it into a list"):
        iterate_images(b"")
    with pytest.raises(ValueError, match="with none"):
        (tmp_path / "empty").mkdir()
        iterate_images(tmp_path / "empty")
