# SPDX-License-Identifier: Apache-2.0
"""A chunk of image rows explained in one go: the explanation of each, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._version import __version__
from ...explain.images.explainer import MhexImageExplainer
from ...explain.images.explanation import ImageExplanation
from ...inputs.images import LoadedImage, load_image
from ...models.checkpoint import shown_name
from ...models.weights_hash import model_hash
from ..explained_rows import together_or_alone
from ..readers.images import content_of
from ..readers.rows import Row

AT_ONCE = 64  # decoded images that are in memory at the same time, whatever their size


@dataclass(frozen=True)
class ExplainedImage:
    """One image explained, and the picture, which is large: whoever keeps many keeps their explanations alone."""

    explanation: ImageExplanation
    image: Any

    def form(self) -> dict[str, Any]:
        """The explanation in JSON form."""
        form: dict[str, Any] = self.explanation.to_dict()
        return form


def load_row(row: Row, window: tuple[float, float] | None = None) -> LoadedImage | str:
    """The image of a row, decoded, deep ones by the window; where it has a problem or cannot be read, the reason."""
    if row.problem is not None:
        return row.problem
    try:
        # by its content alone, so that no explanation and no reason tells the name of a file that nobody asked for
        return load_image(content_of(row.image), window=window)
    except OSError as error:
        return f"the image cannot be read: {error.strerror or type(error).__name__}"
    except (ValueError, TypeError) as error:
        return str(error) or type(error).__name__


def explain_images(
    explainer: MhexImageExplainer, options: Mapping[str, Any], rows: Sequence[Row]
) -> Iterator[ExplainedImage | str]:
    """The rows explained one after the other, `AT_ONCE` of them decoded at a time; for one that cannot be, the reason.

    An image that cannot be explained alone (a foil that is predicted) does not keep the others of its batch from being
    explained.

    Args:
        explainer: a `MhexImageExplainer`.
        options: keyword options of a call: `target`, `foil`, `classes`, `layers`.
        rows: of a source of images.
    """
    for start in range(0, len(rows), AT_ONCE):
        yield from _explain(explainer, options, rows[start : start + AT_ONCE])


def _explain(
    explainer: MhexImageExplainer, options: Mapping[str, Any], rows: Sequence[Row]
) -> list[ExplainedImage | str]:
    images = [load_row(row, explainer.window) for row in rows]
    results: list[ExplainedImage | str] = [image if isinstance(image, str) else "" for image in images]
    pictures = {index: image for index, image in enumerate(images) if not isinstance(image, str)}

    def explain(indices: Sequence[int]) -> list[tuple[int, Any]]:
        ids = [rows[index].id for index in indices]
        explanations = explainer([pictures[index] for index in indices], ids=ids, **options)
        return list(zip(indices, explanations, strict=True))

    for index, explanation in together_or_alone(explain, list(pictures), results):
        results[index] = ExplainedImage(replace(explanation, pixels=None), pictures[index].image)
    return results


def identity_of_images(explainer: MhexImageExplainer, options: Mapping[str, Any]) -> dict[str, Any]:
    """What explanations depend on beside the images: release, weights and processor by their hashes, the options."""
    model = explainer.model
    window = {} if explainer.window is None else {"window": list(explainer.window)}
    return {
        "library": __version__,
        "kind": "image",
        "model": shown_name(model.config._name_or_path) or type(model).__name__,
        "weights": model_hash(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "processor": explainer.inputs.identity(),
        **window,
        **{name: options.get(name) for name in ("target", "foil", "classes", "layers")},
    }
