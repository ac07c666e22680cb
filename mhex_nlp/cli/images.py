# SPDX-License-Identifier: Apache-2.0
"""What verbs do where the model reads images, which its config says. Experimental."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .jobs import check_job, class_name, processes, run_rows
from .say import say

if TYPE_CHECKING:
    from ..corpus.readers.rows import Row, RowSource

IMAGES = "folder of images (with a folder a class, or none), list of file names, Parquet, or name of a dataset"
# Options of texts alone, with what they are where nobody gave them.
_OF_TEXTS: dict[str, Any] = {
    "text_column": "text",
    "text_pair_column": None,
    "max_characters": 1_000_000,
    "aggregation": "auto",
    "budget": None,
    "tolerance": None,
    "max_budget": None,
    "judge": None,
    "flip": False,
    "unit": "words",
    "non_negative": False,
    "max_length": None,
    "stride": None,
    "batch_tokens": None,
    "positions": "predicted",
    "per_text": 5,
}


def check_kind(args: argparse.Namespace) -> bool:
    """Whether the model reads images; ValueError where the options are of the other kind."""
    from ..explain.explainers import is_image_checkpoint

    images = is_image_checkpoint(args.model)
    given = {name: getattr(args, name, None) for name in ("text", "image", "images")}
    if images and given["text"]:
        raise ValueError(f"--text is for a model of texts, got {args.model}, which reads images: give --image.")
    if not images:
        for name in ("image", "images"):
            if given[name]:
                raise ValueError(f"--{name} is for an image classifier, got {args.model}, which reads texts.")
        if args.image_column != "image":
            raise ValueError(f"--image-column is for an image classifier, got {args.model}, which reads texts.")
        if args.window is not None:
            raise ValueError(f"--window is for an image classifier, got {args.model}, which reads texts.")
        return False
    for name, usual in _OF_TEXTS.items():
        if getattr(args, name, usual) not in (usual, None):
            raise ValueError(f"--{name.replace('_', '-')} is for texts, and {args.model} reads images.")
    return True


def open_image_rows(args: argparse.Namespace) -> RowSource:
    """The rows of `--images`, or of `--data`."""
    from ..corpus.readers.images import open_images

    names = ("image_column", "id_column", "label_column")
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    kind = getattr(args, "data_format", None)
    return open_images(args.images or args.data, split=args.split, kind=kind, **options)


def fit_images(args: argparse.Namespace) -> int:
    """Fits to images, saves model and processor, prints how good the fit is; 0."""
    from ..corpus.readers.rows import complete_rows
    from ..models.auto import AutoMhexModelForImageClassification
    from ..models.devices import load_model
    from ..training.finetuning.images import load_processor
    from ..training.fitting.fit import fit_equivalent_matrices

    images = [row.image for row in complete_rows(open_image_rows(args), args.split)]
    model = load_model(AutoMhexModelForImageClassification, args.model, device=args.device)
    processor = load_processor(args.model)
    names = ("masks", "held_out", "max_features", "min_gain", "removal", "seed", "window")
    options = {name: getattr(args, name) for name in names}
    if args.attainable_texts is not None:
        options["attainable_images"] = args.attainable_texts
    report = fit_equivalent_matrices(model, processor, images, **options)
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)
    say(report)
    say(args.output)
    return 0


def highlight_images(args: argparse.Namespace) -> int:
    """Explains images given by name, or a source of them; 0, or 1 where some could not be explained."""
    if args.image:
        return _explain_files(args)
    return _show_rows(args) if args.output is None else _run_job(args)


def _explainer(args: argparse.Namespace, device: Any) -> Any:
    from ..explain.images.explainer import MhexImageExplainer

    return MhexImageExplainer.from_pretrained(args.model, dtype=args.dtype, device=device, window=args.window)


def _request(args: argparse.Namespace, explainer: Any) -> dict[str, Any]:
    labels = explainer.classes.labels
    target, foil = (class_name(name, labels) for name in (args.target, args.foil))
    options = {"target": target, "foil": foil, "classes": args.classes, "layers": args.layers}
    explainer.request(**options, names=False)  # refuses what would be refused image by image
    return options


def _explain_files(args: argparse.Namespace) -> int:
    """Images by their file names: on the terminal, or as JSONL and a page each."""
    from ..corpus.jsonl import write_jsonl
    from ..inputs.atomic_files import durable
    from ..inputs.images import load_image
    from ..render import image_page, image_terminal
    from .texts import check_formats, check_output

    formats = check_formats(args.format or "jsonl,html")
    explainer = _explainer(args, args.device)
    images = [load_image(Path(name), window=args.window) for name in args.image]
    ids = [str(number) for number in range(len(images))]
    explanations = explainer(images, ids=ids, **_request(args, explainer))
    if args.output is None:
        for explanation in explanations:
            image_terminal(explanation.to_dict())
        return 0
    check_output(args.output, formats)
    args.output.mkdir(parents=True, exist_ok=True)
    if "jsonl" in formats:
        write_jsonl(explanations, args.output / "explanations.jsonl")
        say(args.output / "explanations.jsonl")
    for number, (explanation, image) in enumerate(zip(explanations, images, strict=True)):
        if "html" in formats:
            path = args.output / ("report.html" if len(images) == 1 else f"image-{number}.html")
            with durable(path) as file:
                file.write(image_page(explanation.to_dict(), image.image).encode())
            say(path)
    return 0


def _show_rows(args: argparse.Namespace) -> int:
    """Rows of a source on the terminal; those that cannot be explained are named and passed over."""
    from ..corpus.images.explained import explain_images
    from ..render import image_terminal

    source, status = open_image_rows(args), 0
    explainer = _explainer(args, args.device)
    request = _request(args, explainer)
    for row in source:
        for result in explain_images(explainer, request, [row]):
            if isinstance(result, str):
                status = 0 if args.allow_errors else 1
                say(f"row {row.number}: {result}", error=True)
            else:
                image_terminal(result.form())
    return status


def _run_job(args: argparse.Namespace) -> int:
    """Explains a whole source into `--output`, as one of the processes that `accelerate launch` started."""
    from ..corpus.images.columns import ImageColumnOptions
    from ..corpus.images.explained import identity_of_images
    from .texts import check_formats

    args.data = args.images or args.data
    formats = sorted(set(check_formats(args.format or "jsonl", ("jsonl", "parquet"))))
    check_job(args, formats)
    state = processes(args)
    source = open_image_rows(args)
    explainer = _explainer(args, args.device or state.device)
    request = _request(args, explainer)
    columns = ImageColumnOptions(5 if args.top_k is None else args.top_k, args.classes == "all")
    names = ("image_column", "id_column", "label_column", "part_rows", "top_k")
    identity = identity_of_images(explainer, request)
    how = {"request": request, "formats": formats, "columns": columns, "state": state}
    report = run_rows(args, explainer, source, names, identity, **how)
    if report is None:
        return 0
    say(f"{report.explained:,} of {report.rows:,} images explained in {report.parts:,} parts.")
    if report.errors:
        say(f"{report.errors:,} rows not explained, see {args.output / 'errors.jsonl'}")
    say(f"`mhex report {args.output} --output pages --images {args.data}` makes pages of them.")
    return 1 if report.errors and not args.allow_errors else 0


def report_images(args: argparse.Namespace, explanations: Iterator[Any]) -> Path:
    """Writes pages of many image explanations; their index."""
    from ..corpus.report import write_image_report

    if args.unit != "words":
        raise ValueError(f"--unit is for texts, got {args.unit!r} with explanations of images.")
    explanations, copies = itertools.tee(explanations)
    options: dict[str, Any] = {} if args.title is None else {"title": args.title}
    options |= {} if args.page_texts is None else {"page_images": args.page_texts}
    if args.images is not None:
        options["pixels"] = _pictures(copies, args)
    if args.labels is not None:
        first = next(explanations)
        explanations = itertools.chain([first], explanations)
        options["labels"] = _labels(args, list(first.to_dict()["prediction"]["probabilities"]))
    return write_image_report(explanations, args.output, **options)


def _pictures(explanations: Iterable[Any], args: argparse.Namespace) -> Iterator[Any]:
    """The explained images among the rows of `--images`, in step; ValueError where they are others."""
    from ..corpus.images.explained import load_row
    from ..corpus.readers.images import open_images

    rows = iter(open_images(args.images, image_column=args.image_column, id_column=args.id_column, split=args.split))
    for explanation in explanations:
        form = explanation.to_dict()
        row = next((row for row in rows if row.id == form["id"]), None)
        if row is None:
            raise ValueError(
                f"--images must hold the explained images in their order, got none of id {form['id']!r:.80} in "
                f"{args.images} after those before it; --id-column must be that of `mhex highlight`."
            )
        loaded = load_row(row, args.window)
        if isinstance(loaded, str):
            raise ValueError(f"--images must hold the explained images, got row {row.number}, of which: {loaded}")
        if loaded.sha256 != form["image"]["sha256"]:
            raise ValueError(f"--images must hold the explained images, got another one in row {row.number}.")
        yield loaded.image


def _labels(args: argparse.Namespace, classes: Sequence[str]) -> dict[str, Any]:
    """The right class of each id, from a source of images or a table."""
    from ..corpus.labelled_rows import labelled_rows
    from ..corpus.readers.images import open_images
    from ..corpus.readers.opening import open_rows

    options = {"label_column": args.label_column, "id_column": args.id_column, "split": args.split}
    if Path(args.labels).is_dir():
        source = open_images(args.labels, image_column=args.image_column, **options)
    else:
        source = open_rows(args.labels, text_column=args.label_column, **options)
    rows: Iterator[Row] = labelled_rows(source, source, classes)
    return {row.id: row.label for row in rows}
