# SPDX-License-Identifier: Apache-2.0
"""Equivalent matrices fitted in closed form to what the model does when words are masked."""
