# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints and pickles made before the first release look for their class; it is in `mhex_nlp.models`."""

from __future__ import annotations

from .models import __getattr__ as __getattr__
