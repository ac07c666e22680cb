# SPDX-License-Identifier: Apache-2.0
"""A whole dataset explained into part files, resumed where it was stopped."""
