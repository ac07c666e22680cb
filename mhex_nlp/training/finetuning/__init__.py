# SPDX-License-Identifier: Apache-2.0
"""A short accelerate loop that fine-tunes a classifier with heads."""
