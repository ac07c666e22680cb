# SPDX-License-Identifier: Apache-2.0
"""`python -m mhex_nlp`: as `mhex`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
