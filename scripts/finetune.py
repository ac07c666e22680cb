# SPDX-License-Identifier: Apache-2.0
"""Entry file for `accelerate launch`: the same as `mhex finetune`.

accelerate launch --multi_gpu --num_processes 2 scripts/finetune.py --num-processes 2 --model ... --data ...
"""

from __future__ import annotations

import sys

from mhex_nlp.cli.finetune import main

if __name__ == "__main__":
    sys.exit(main())
