# SPDX-License-Identifier: Apache-2.0
"""Explanations of image classifiers compared: MHEX and others on one model and one set of images (experimental)."""
