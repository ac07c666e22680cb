# SPDX-License-Identifier: Apache-2.0
"""Is an explanation true? Metrics, the comparison of methods, explanations side by side."""
