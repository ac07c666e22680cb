# SPDX-License-Identifier: Apache-2.0
"""How large a report is, how soon its index is seen, and how smoothly its list scrolls, in a real Chromium.

    python -m studies.report_pages --output docs/results/report_speed.json

Writes a report of made-up texts, opens its index from the disk as a reader does, and scrolls through the whole list by
a screen a frame, so that every text is loaded. A frame's time is the distance between two of the browser's animation
frames. Other work on the machine shows in all of it: all tries are written down, and the best of them. The processor
time that the page's main thread takes for each such step shows no other work.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from mhex_nlp import Explanation, write_report
from mhex_nlp.explain.parts import ClassRef, Method, ModelRef, Prediction, Token

from .common import chromium, machine, make_parser, write_json

WORDS = (  # noqa: SIM905
    "the a film plot was and very music acting it with of in long short first second half scene story but not more "
    "than what they made when our time again there which only room service staff breakfast noisy quiet clean late"
).split()
TONES = {
    "negative": ["dull", "awful", "broken", "rude", "poor"],
    "positive": ["superb", "lovely", "kind", "warm", "fine"],
}
SAME: dict[str, Any] = {
    "method": Method("mhex", "model", "fitted", "centred", False, "mask", True, 0.5, 0.5),
    "model": ModelRef("made-up", None),
    "library": "mhex_nlp",
    **dict.fromkeys(["text_pair", "foil", "heads"]),
    **{"base_value": 0.0, "truncated": False, "windows": 1, "notes": ()},
}
CLS, SEP = (Token("", piece, None, None, None, None, True, 0.0) for piece in ("[CLS]", "[SEP]"))
VIEW = {"width": 1280, "height": 900}
FIRST_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""
SCROLL = """(count) => new Promise((done) => {
  const frames = [];
  const more = document.getElementById("more");
  let last, still = 0;
  const step = (now) => {
    if (last !== undefined) frames.push(now - last);
    last = now;
    const before = scrollY;
    scrollBy(0, innerHeight);
    still = scrollY === before ? still + 1 : 0;
    const all = document.querySelectorAll("#rows li").length === count && more.hidden;
    if ((all && still > 2) || still > 600) done({ frames, listed: document.querySelectorAll("#rows li").length });
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
STEP = """() => new Promise((done) => requestAnimationFrame(() => {
  scrollBy(0, innerHeight);
  requestAnimationFrame(() => done(document.documentElement.scrollHeight - scrollY - innerHeight > 2));
}))"""
FILTER = """(word) => {
  const field = document.querySelector("[name=word]"), begun = performance.now();
  field.value = word;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  document.body.offsetHeight;
  return performance.now() - begun;
}"""


def explanations(count: int, words: int, seed: int = 0) -> Iterator[Explanation]:
    """Texts of about `words` words, a token each, of two classes."""
    draw, labels = random.Random(seed), list(TONES)
    for number in range(count):
        label = draw.choice(labels)
        chosen = [draw.choice(WORDS) for _ in range(words + draw.randint(-5, 5))]
        for position in draw.sample(range(len(chosen)), 2):
            chosen[position] = draw.choice(TONES[label])
        tokens, start = [CLS], 0
        for index, word in enumerate(chosen):
            score = draw.uniform(0.5, 1.5) if word in TONES[label] else draw.uniform(-0.2, 0.2)
            tokens.append(Token(word, word, start, start + len(word), 0, index, False, score))
            start += len(word) + 1
        target, probability = ClassRef(label, labels.index(label)), draw.uniform(0.5, 1)
        shares = dict.fromkeys(labels, 1 - probability) | {label: probability}
        yield Explanation(
            id=str(number),
            text=" ".join(chosen),
            prediction=Prediction(label, target.id, probability, shares),
            target=target,
            tokens=(*tokens, SEP),
            sum=sum(token.score for token in tokens),
            **SAME,
        )


def try_once(browser: Any, index: Path, count: int) -> dict[str, Any]:
    """One fresh tab."""
    page = browser.new_page(viewport=VIEW)
    page.goto(index.as_uri(), wait_until="commit")
    paint = page.evaluate(FIRST_PAINT)
    page.wait_for_selector("#rows li", state="attached")
    filters = [page.evaluate(FILTER, word) for word in ("s", "superb", "")]
    scrolled = page.evaluate(SCROLL, count)
    page.close()
    if scrolled["listed"] != count:
        raise RuntimeError(f"the list must hold {count} texts when it was scrolled through, got {scrolled['listed']}.")
    frames = sorted(scrolled["frames"])
    return {
        "first_contentful_paint_ms": round(paint, 1),
        "frames": len(frames),
        "longest_frame_ms": round(frames[-1], 1),
        "frame_99_percent_ms": round(frames[int(0.99 * len(frames))], 1),
        "median_frame_ms": round(frames[len(frames) // 2], 1),
        "longest_filter_ms": round(max(filters), 1),
    }


def main_thread(browser: Any, index: Path) -> dict[str, float]:
    """Milliseconds of processor time of the page's main thread, a step of one screen."""
    page = browser.new_page(viewport=VIEW)
    page.goto(index.as_uri())
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    ticks, further = [], True
    while further:
        further = len(ticks) == 0 or page.evaluate(STEP)
        metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        ticks.append(1000 * metrics["TaskDuration"])
    page.close()
    spent = sorted(after - before for before, after in pairwise(ticks))
    return {"steps": len(spent), "most_ms": round(spent[-1], 1), "median_ms": round(spent[len(spent) // 2], 1)}


def main() -> None:
    args = make_parser(__doc__, page=False, texts=10_000, words=25, tries=3).parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        made = list(explanations(args.texts, args.words))
        draw = random.Random(1)
        labels = [e.label if draw.random() < 0.9 else draw.choice(list(TONES)) for e in made]
        start = time.perf_counter()
        index = write_report(made, Path(folder) / "report", labels=labels)
        seconds = time.perf_counter() - start
        sizes = [path.stat().st_size for path in index.parent.rglob("*") if path.is_file()]
        tries = [try_once(browser, index, args.texts) for _ in range(args.tries)]
        result = {
            "machine": f"{machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}",
            "chromium": browser.version,
            "texts": args.texts,
            "words": args.words,
            "files": len(sizes),
            "bytes_per_text": round(sum(sizes) / args.texts),
            "index_bytes": index.stat().st_size,
            "texts_per_second_written": round(args.texts / seconds),
            "best": {
                name: min(attempt[name] for attempt in tries)
                for name in ("first_contentful_paint_ms", "longest_frame_ms", "longest_filter_ms")
            },
            "main_thread": main_thread(browser, index),
            "tries": tries,
        }
    print(json.dumps(result, indent=1))
    write_json(args.output, result)


if __name__ == "__main__":
    main()
