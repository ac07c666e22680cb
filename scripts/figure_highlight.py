# SPDX-License-Identifier: Apache-2.0
"""The README's picture: two sentences, explained by the demo's model and photographed in a browser.

    ./scripts/demo.sh
    .venv/bin/python scripts/figure_highlight.py --model demo-output/model --output docs/highlight.png

Needs playwright and a chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from mhex_nlp import MhexExplainer
from mhex_nlp.render import render_page

TEXTS = [
    "The staff were kind, but the room was noisy and the bed was awful.",
    "Slow service, but the cake was superb and the staff were lovely.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--text", action="append", help="another sentence instead; may be given several times")
    parser.add_argument("--aggregation", default="auto")
    args = parser.parse_args()
    explainer = MhexExplainer.from_pretrained(args.model, aggregation=args.aggregation)
    explanations = explainer(args.text or TEXTS)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder, "page.html")
        page_file.write_text(render_page([e.to_dict() for e in explanations], title="Why?"), "utf-8")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 720, "height": 400}, device_scale_factor=2)
        page.goto(page_file.as_uri())
        page.screenshot(path=str(args.output), full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
