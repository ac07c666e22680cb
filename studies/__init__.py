# SPDX-License-Identifier: Apache-2.0
"""Benchmarks and studies behind the figures in `docs/`; run from the root of a clone as `python -m studies.<name>`."""
