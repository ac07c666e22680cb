# SPDX-License-Identifier: Apache-2.0
"""Explanations as a figure for papers."""
