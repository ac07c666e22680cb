# SPDX-License-Identifier: Apache-2.0
"""Pixels in a JSON form, where they are asked for."""

from __future__ import annotations

import base64
import io

from PIL import Image


def data_url(image: Image.Image) -> str:
    """The whole image as a data: URL of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
