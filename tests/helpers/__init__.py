# SPDX-License-Identifier: Apache-2.0
"""Tiny models, examples and watchers that several rooms' tests share."""
