# SPDX-License-Identifier: Apache-2.0
"""Explanations of image classifiers: signed maps of cells. Experimental."""
