# SPDX-License-Identifier: Apache-2.0
"""Explanations inside other libraries; each module needs its own library alone until a model is loaded."""
