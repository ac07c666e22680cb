# SPDX-License-Identifier: Apache-2.0
"""A bright square placed anywhere comes back under the right cells, by 12 processors and 6 shapes of images."""

from __future__ import annotations

import importlib
import io

import numpy as np
import pytest
from PIL import Image

from mhex_nlp.inputs.image_inputs import ImageInputs, other_processor
from mhex_nlp.inputs.images import LoadedImage, load_image

SIDE = {"height": 96, "width": 96}
PROCESSORS = {
    "vit": ("ViT", {"size": SIDE}),
    "convnext": ("ConvNext", {"size": {"shortest_edge": 96}, "crop_pct": 224 / 256}),
    "efficientnet": ("EfficientNet", {"size": SIDE}),
    "bit": ("Bit", {"size": {"shortest_edge": 112}, "crop_size": SIDE}),
    "clip": ("CLIP", {"size": {"shortest_edge": 96}, "crop_size": SIDE}),
    "levit": ("Levit", {"size": {"shortest_edge": 96}, "crop_size": SIDE}),
    "mobilenet_v2": ("MobileNetV2", {"size": {"shortest_edge": 112}, "crop_size": SIDE}),
    "pvt": ("Pvt", {"size": SIDE}),
    "siglip": ("Siglip", {"size": SIDE}),
    "deit": ("DeiT", {"size": {"height": 112, "width": 112}, "crop_size": SIDE}),
    "beit": ("Beit", {"size": SIDE}),
    "poolformer": ("PoolFormer", {"size": {"shortest_edge": 96}, "crop_pct": 0.9, "crop_size": SIDE}),
}
SHAPES = {
    "tall": (60, 200),
    "wide": (200, 60),
    "tiny": (20, 14),
    "turned": (90, 130),
    "rgba": (64, 48),
    "deep": (80, 80),
}


def image_inputs(family: str, **more: object) -> ImageInputs:
    name, options = PROCESSORS[family]
    module = importlib.import_module(f"transformers.models.{family}.image_processing_pil_{family}")
    return ImageInputs(getattr(module, f"{name}ImageProcessorPil")(**{**options, **more}))


def with_square(shape: str, left: int, top: int, side: int) -> LoadedImage:
    """An image of the shape, dark but for a square, in pixels of the upright image."""
    width, height = SHAPES[shape]
    values = np.full((height, width), 20, np.uint8)
    values[top : top + side, left : left + side] = 220
    if shape == "turned":
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = 6  # stored on its side
        Image.fromarray(np.rot90(values).copy()).save(file, "PNG", exif=exif)
        return load_image(file.getvalue())
    if shape == "rgba":
        return load_image(np.dstack([values] * 3 + [np.full_like(values, 255)]))
    if shape == "deep":
        return load_image(values.astype(np.uint16) * 100, window=(0, 25_500))
    return load_image(np.dstack([values] * 3))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", PROCESSORS)
def test_a_square_comes_back_where_it_was(family, shape):
    """Its edges, measured in what the processor made and brought back by the geometry, are off by a pixel at most."""
    inputs = image_inputs(family)
    width, height = SHAPES[shape]
    side = min(width, height) // 3
    for left, top in ((width // 2 - side // 2, height // 2 - side // 2), (width // 2 - side // 4, height // 2)):
        image = with_square(shape, left, top, side)
        assert image.size == (width, height)
        values = inputs.pixel_values(image).mean(0).numpy()
        grid = inputs.geometry(image, *values.shape)
        share = (values - values.min()) / (values.max() - values.min())
        for profile, start, step, first in (
            (share.max(0), grid.x0, grid.dx, left),
            (share.max(1), grid.y0, grid.dy, top),
        ):
            bright = np.flatnonzero(profile >= 0.5)
            edges = start + bright[0] * step, start + (bright[-1] + 1) * step
            allowed = max(step, 1.0) + 0.5  # a pixel of either, and the ramp's rounding
            assert bright[0] == 0 or abs(edges[0] - first) <= allowed
            assert bright[-1] == len(profile) - 1 or abs(edges[1] - first - side) <= allowed


@pytest.mark.parametrize(("family", "expected"), [("vit", (0, 0, 40, 10)), ("clip", (70, 0, 130, 60))])
def test_whole_images_and_crops(family, expected):
    inputs, image = image_inputs(family), load_image(np.zeros((60, 200), np.uint8))
    cols = 5 if family == "vit" else 1
    grid = inputs.geometry(image, 6 if family == "vit" else 1, cols)
    assert grid.box(0, 0) == pytest.approx(expected, abs=0.4)


def test_patches_that_do_not_fill_the_input_end_before_it():
    inputs, image = image_inputs("vit"), load_image(np.zeros((96, 96), np.uint8))
    grid = inputs.geometry(image, 6, 6, patch=14)
    assert grid.box(5, 5) == pytest.approx((70, 70, 84, 84), abs=0.3)


def test_what_makes_no_pixel_values_is_refused():
    with pytest.raises(TypeError, match="image_processor must be an image processor of transformers, got str"):
        ImageInputs("vit")
    with pytest.raises(TypeError, match="image processor of transformers, got the class ViTImageProcessorPil"):
        ImageInputs(type(image_inputs("vit").image_processor))


@pytest.mark.parametrize("family", ["vit", "bit", "clip"])
def test_processors_of_grey_images_get_grey_ones(family):
    """With one mean, they refuse three channels; those that make RGB of all do so unless they are told not to."""
    inputs = image_inputs(family, image_mean=[0.5], image_std=[0.5], do_convert_rgb=False)
    image = load_image(np.dstack([np.full((40, 60), value, np.uint8) for value in (200, 0, 0)]))
    values = inputs.pixel_values(image)
    assert values.shape == (1, 96, 96) and values.mean() == pytest.approx(2 * 0.299 * 200 / 255 - 1, abs=0.01)
    assert inputs.geometry(image, 6, 6).dy == pytest.approx((40 if family == "vit" else 96 / 2.4) / 6, abs=1)


def test_two_processors_are_told_apart():
    one, same, other = (image_inputs(family).identity() for family in ("vit", "vit", "pvt"))
    assert other_processor(one, same) is None and other_processor(None, same) is None
    assert other_processor(one, {**one, "backend": "torchvision"}) == "the backend 'torchvision' in place of 'pil'"
    assert other_processor(one, other) == "other settings"
