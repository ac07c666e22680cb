# SPDX-License-Identifier: Apache-2.0
"""`mhex evaluate` where the model reads images. Experimental."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from .images import open_image_rows
from .say import say


def evaluate_images(args: argparse.Namespace) -> int:
    """Compares explanations of images, writes the files and prints a table for each removal; 0."""
    from ..corpus.readers.rows import complete_rows
    from ..evaluation.benchmark.images.run import evaluate_image_explanations
    from ..evaluation.benchmark.images.tables import check_image_output, image_table, write_image_evaluation
    from ..inputs.images import load_image
    from ..models.auto import AutoMhexModelForImageClassification
    from ..models.devices import load_model
    from ..training.finetuning.images import load_processor

    check_image_output(args.output)
    if args.corpus or args.rationale_column is not None:
        raise ValueError(f"--corpus and --rationale-column are for texts, and {args.model} reads images.")
    if args.regions is not None and (args.images is None or not Path(args.images).is_dir()):
        raise ValueError("--regions names masks of the images of a folder: give --images with that folder.")
    args.id_column = "file_name" if args.regions is not None else None
    rows = list(complete_rows(open_image_rows(args), args.split))
    if len(rows) > args.limit:
        say(f"{args.limit} of {len(rows)} images, drawn with seed {args.seed}; --limit takes more.")
        rows = [rows[index] for index in sorted(random.Random(args.seed).sample(range(len(rows)), args.limit))]
    images = [load_image(row.image, window=args.window, id=row.id) for row in rows]
    names = args.methods if args.methods is None else [name.strip() for name in args.methods.split(",") if name.strip()]
    options: dict[str, Any] = {"methods": "all" if names == ["all"] else names, "road": args.road, "seed": args.seed}
    if args.removal is not None:
        options["removals"] = [name.strip() for name in args.removal.split(",") if name.strip()]
    if args.permutations is not None:
        options["reference_permutations"] = args.permutations
    if args.regions is not None:
        options["regions"] = [_mask(args.regions, row.id) for row in rows]
    model = load_model(AutoMhexModelForImageClassification, args.model, device=args.device)
    report = evaluate_image_explanations(model, load_processor(args.model), images, **options)
    paths = write_image_evaluation(report, args.output)
    for result in report.results:
        say(f"Judged by {result.removal}:")
        say("\n".join(image_table(result)))
    for note in report.notes:
        say(note)
    for path in paths:
        say(path)
    return 0


def _mask(folder: Path, name: str) -> Any:
    """(height, width) bool of the image of the same name but for its suffix, true where it is brighter than half."""
    import numpy as np

    from ..inputs.images import load_image

    place = folder / name
    files = sorted(file for file in place.parent.glob(f"{place.stem}.*") if file.stem == place.stem)
    if not files:
        raise ValueError(f"regions must hold a mask of each image, got none named {place.stem} in {place.parent}.")
    return np.asarray(load_image(files[0], id=name).image.convert("L")) > 127
