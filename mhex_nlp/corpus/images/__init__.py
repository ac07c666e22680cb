# SPDX-License-Identifier: Apache-2.0
"""Whole datasets of images: rows explained, columns, counts. Experimental, as all of images is."""
