# SPDX-License-Identifier: Apache-2.0
"""The embedded demo: a small labelled corpus with human rationales, and what runs on it."""
