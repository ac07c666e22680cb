# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from mhex_nlp.explain.contrast import contrast

SCORES = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
TARGET = np.array([2, 0])


def test_contrast():
    np.testing.assert_array_equal(contrast(SCORES, TARGET, "none")[1], SCORES[1, :, 0])
    np.testing.assert_allclose(contrast(SCORES, TARGET, "centred")[0], SCORES[0, :, 2] - SCORES[0].mean(-1))
    foil = contrast(SCORES, TARGET, "foil", np.array([1, 1]))
    np.testing.assert_array_equal(foil[0], SCORES[0, :, 2] - SCORES[0, :, 1])
    np.testing.assert_array_equal(foil[1], SCORES[1, :, 0] - SCORES[1, :, 1])
    assert foil.dtype == np.float32
    np.testing.assert_array_equal(contrast(SCORES[:, 0], TARGET, "none"), SCORES[[0, 1], 0, TARGET])


def test_errors():
    with pytest.raises(ValueError, match="needs foil"):
        contrast(SCORES, TARGET, "foil")
    with pytest.raises(ValueError, match="contrast must be"):
        contrast(SCORES, TARGET, "softmax")
