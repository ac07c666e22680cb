# SPDX-License-Identifier: Apache-2.0
"""`MhexImageExplainer`: an image classifier and its processor in, image explanations out. Experimental."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from ... import models
from ...inputs.checks import as_integer
from ...inputs.image_inputs import OTHER_SETTINGS, ImageInputs, other_processor, same_shape_groups
from ...inputs.images import LoadedImage, check_window, is_folder, iterate_images, load_image
from ...inputs.texts import check_ids, iter_rows
from ...models.checkpoint import shown_name
from ...models.devices import load_model
from ...models.eval_mode import run_in_eval_mode
from ...models.fit_weights import has_weights_of
from ...models.heads.attribution import depth_weights
from ...models.heads.head import trained
from ...models.image_fit import cell_scores, image_fit_of
from ...models.image_perturbed import PerturbedImages
from ...models.image_states import ImageGrid, architecture_of, image_classifier_in, logits_of
from ...models.modeling import MhexMixin
from ..judgement import judgement_of
from ..parts import ModelRef
from ..request import check_changed_weights
from ..skill import Rows
from ..targets import ClassName, ClassTable
from .assemble import ImageRequest, Maps, assemble, contrasts
from .judging import ImageJudgement, judged_rows

_SINGLE = (str, Path, bytes, bytearray, memoryview, Image.Image, Mapping, LoadedImage)


class MhexImageExplainer:
    """Explains what an image classifier predicts, in one forward pass, by its fitted matrices. Experimental.

    >>> explainer = MhexImageExplainer(model, image_processor)
    >>> explainer("scan.png", target="pneumonia", foil="normal").top(3)

    Args:
        model: an image classifier of transformers, with or without heads, that `fit_equivalent_matrices(model,
            image_processor, images)` was called on.
        image_processor: the one that it was fitted with.
        window: (black, white) of images of more than 8 bits.
        batch_size: images of one forward pass; by default 16 on a CPU, else 64.
        changed_weights: where the fit was made on other weights, "refuse" or "note" it and show no skill.
        changed_processor: where the fit was made with other settings of the processor, "refuse" or "note" it and show
            no skill. Another backend of the same settings is noted.

    Raises:
        TypeError: a model that reads texts (names `MhexExplainer`), or no image processor.
        ValueError: an unknown option.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        *,
        window: tuple[float, float] | None = None,
        batch_size: int | None = None,
        changed_weights: Literal["refuse", "note"] = "refuse",
        changed_processor: Literal["refuse", "note"] = "refuse",
    ) -> None:
        inner = image_classifier_in(model)
        if inner is None:
            raise TypeError(
                f"model must be an image classifier (...ForImageClassification) for MhexImageExplainer, got a "
                f"{type(model).__name__}; MhexExplainer(model, tokenizer) explains models that read texts."
            )
        self.model: Any = inner
        self.inputs = ImageInputs(image_processor)
        self.image_processor, self.window = self.inputs.image_processor, check_window(window)
        usual = 16 if inner.device.type == "cpu" else 64
        self.batch_size = usual if batch_size is None else as_integer(batch_size, "batch_size", at_least=1)
        self.changed_weights = check_changed_weights(changed_weights)
        if changed_processor not in ("refuse", "note"):
            raise ValueError(f"changed_processor must be 'refuse' or 'note', got {changed_processor!r}.")
        self.changed_processor = changed_processor

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Loads model and image processor from a folder or the hub; `options` are those of the class.

        Raises:
            ValueError: a checkpoint that reads texts, a dtype that the device cannot compute in, no such device.
        """
        loader: Any = models.auto.AutoMhexModelForImageClassification
        try:
            model = load_model(loader, name, revision=revision, dtype=dtype, device=device)
        except ValueError as error:
            architecture = architecture_of(name, revision)
            if not architecture or "ForImageClassification" in architecture:
                raise
            raise ValueError(
                f"{name} must be an image classifier for MhexImageExplainer, got a {architecture}: "
                "MhexExplainer.from_pretrained explains models that read texts."
            ) from error
        return cls(model, AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil"), **options)

    @property
    def classes(self) -> ClassTable:
        """The model's classes as its config has them now."""
        return ClassTable(self.model.config)

    def __call__(
        self,
        image: Any,
        *,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: Literal["target", "all"] = "target",
        layers: bool = False,
        ids: Iterable[str] | str | None = None,
        names: bool = False,
    ) -> Any:
        """Explains one image, or several in one go.

        Args:
            image: a PIL image, a path, the bytes of a file, uint8 values (H, W), (H, W, 3) or (H, W, 4), {"bytes",
                "path"}; or a list, a folder, or an Image column of these.
            target: the class explained, by name or id; by default, and with "predicted", the one the model predicts.
            foil: a class to compare with: scores say what speaks for the target rather than for the foil.
            classes: "all" adds a map for every class.
            layers: adds what each depth contributes; over depths it sums to the score.
            ids: a name for each explanation, of one image also alone; by default its position.
            names: put the names of files, without their folders, into the explanations.

        Returns:
            an `ImageExplanation`, or a list of them in the order of the images.

        Raises:
            TypeError, ValueError: what is no image, is empty or cut off; floats, or more than 8 bits without a window;
                an unknown class; a model without a fit, or with one of other weights or of another processor. A bad
                image fails the call, by its id.
            FileNotFoundError: no such file.
        """
        single = self._is_single(image)
        sources = [image] if single else list(iterate_images(image))
        chosen = check_ids(ids, len(sources), single, "images")
        request = self.request(target, foil, classes, layers, names)
        explanations: list[Any] = []
        for start in range(0, len(sources), self.batch_size):
            part = slice(start, start + self.batch_size)
            explanations += self._explain(sources[part], chosen[part], request, single=single and ids is None)
        return explanations[0] if single else explanations

    def stream(
        self, images: Any, *, batch_size: int | None = None, ids: Iterable[str] | None = None, **options: Any
    ) -> Iterator[Any]:
        """Explains images as they come, `batch_size` at a time, in order and in constant memory; options of the call.

        Raises:
            TypeError, ValueError: as the call; ids that are more or fewer than the images.
        """
        size = self.batch_size if batch_size is None else as_integer(batch_size, "batch_size", at_least=1)
        options = {"target": None, "foil": None, "classes": "target", "layers": False, "names": False} | options
        return self._stream(iterate_images(images), ids, size, self.request(**options))

    def _stream(
        self, images: Iterator[Any], ids: Iterable[str] | None, size: int, request: ImageRequest
    ) -> Iterator[Any]:
        names = iter(map(str, itertools.count() if ids is None else iter_rows(ids, "ids")))
        while chunk := list(itertools.islice(images, size)):
            chosen = list(itertools.islice(names, len(chunk)))
            if len(chosen) < len(chunk):
                raise ValueError("ids must be one for each image, got fewer.")
            yield from self._explain(chunk, chosen, request)
        if ids is not None and next(names, None) is not None:
            raise ValueError("ids must be one for each image, got more.")

    def judge(self, images: Any, *, masks: int = 24, seed: int = 0) -> ImageJudgement:
        """How far maps can be trusted on these images: their paired skill, from `masks` passes over each.

        A fit's own figure is of images of the kind that it was made on. `seed` draws the subsets that are kept.

        Raises:
            TypeError, ValueError: as the call; fewer than 2 masks, or no image.
        """
        masks, seed = as_integer(masks, "masks", at_least=2), as_integer(seed, "seed", at_least=0)
        request = self.request(None, None, "target", False, False)
        perturbed, rows, images, start = self._perturbed(request), list[Rows](), iterate_images(images), 0
        while chunk := list(itertools.islice(images, self.batch_size)):
            names = [str(start + number) for number in range(len(chunk))]
            loaded = [load_image(one, window=self.window, id=name) for one, name in zip(chunk, names, strict=True)]
            with torch.inference_mode():
                for group, pixels, maps in self._batches(loaded, names, request):
                    numbers = [start + index for index in group]
                    rows += judged_rows(pixels, maps, perturbed, request, numbers, masks, seed)
            start += len(chunk)
        if not rows:
            raise ValueError("images must be at least one to judge maps on, got none.")
        return judgement_of(rows, masks, perturbed.removal, seed, request.figures or None, ImageJudgement)

    def request(
        self, target: ClassName | None, foil: ClassName | None, classes: str, layers: bool, names: bool
    ) -> ImageRequest:
        """The options of a call, checked; errors as there."""
        if classes not in ("target", "all"):
            raise ValueError(f"classes must be 'target' or 'all', got {classes!r}.")
        table = self.classes
        by_name = not (isinstance(target, str) and target == "predicted" and target not in table.labels)
        target_id, foil_id = table.resolve(target if by_name else None, foil)
        readout = image_fit_of(self.model)
        if readout is None and not (isinstance(self.model, MhexMixin) and trained(self.model.mhex)):
            raise ValueError(
                "the model has no fit that could explain it: fit_equivalent_matrices(model, image_processor, images) "
                "makes one from some thousand images, without labels."
            )
        fit, config = {} if readout is None else readout.record, self.model.config
        if (fit.get("image") or {}).get("blocks") and not len(getattr(self.model, "mhex", ())):
            raise ValueError(
                "the model's fit reads the states of blocks, which MHEX heads show, and it has none: "
                "AutoMhexModelForImageClassification loads it with heads."
            )
        same = has_weights_of(self.model, fit)
        if same is False and self.changed_weights == "refuse":
            raise ValueError(
                "the model's weights are not those that its fit was made on, so the fitted matrices explain another "
                "model: fit_equivalent_matrices(model, image_processor, images) fits anew (changed_weights='note' goes "
                "on)."
            )
        other = other_processor((fit.get("image") or {}).get("processor"), self.inputs.identity())
        if other == OTHER_SETTINGS and self.changed_processor == "refuse":
            raise ValueError(
                "image_processor must have the settings of the one that the fit was made with, got other ones "
                "(changed_processor='note' goes on)."
            )
        revision = getattr(config, "_commit_hash", None)
        return ImageRequest(
            table=table,
            target=target_id,
            foil=foil_id,
            all_classes=classes == "all",
            layers=layers,
            contrast="foil" if foil_id is not None else "centred" if table.exclusive else "none",
            readout=readout,
            fit_holds=same,
            other_processor=other,
            names=names,
            model=ModelRef(shown_name(config._name_or_path) or type(self.model).__name__, revision and str(revision)),
        )

    def _is_single(self, image: Any) -> bool:
        if isinstance(image, str | Path):
            return not is_folder(image)
        return isinstance(image, _SINGLE) or (hasattr(image, "__array__") and hasattr(image, "dtype"))

    def _explain(
        self, sources: Sequence[Any], ids: Sequence[str], request: ImageRequest, single: bool = False
    ) -> list[Any]:
        images = [
            load_image(source, window=self.window, id=None if single else name)
            for source, name in zip(sources, ids, strict=True)
        ]
        explanations: list[Any] = []
        with torch.inference_mode():
            for group, _, maps in self._batches(images, ids, request):
                chosen, grid = [images[index] for index in group], maps.grid
                places = [self.inputs.geometry(image, grid.rows, grid.cols, grid.patch) for image in chosen]
                explanations += assemble(chosen, [ids[index] for index in group], places, maps, request)
        return explanations

    def _batches(
        self, images: Sequence[LoadedImage], ids: Sequence[str], request: ImageRequest
    ) -> Iterator[tuple[list[int], Tensor, Maps]]:
        """Images of one size together: their indices, pixel values and maps."""
        values = [self.inputs.pixel_values(image) for image in images]
        for group in same_shape_groups(values, self.batch_size):
            pixels = torch.stack([values[index] for index in group])
            yield group, pixels, self._read(pixels, request, [ids[index] for index in group])

    def _read(self, pixels: Tensor, request: ImageRequest, names: Sequence[str]) -> Maps:
        """The maps of one batch (B, channels, H, W)."""
        perturbed = self._perturbed(request)
        named = [f"image {name}" for name in names]
        if request.readout is None:
            logits, explained, evidence, grid = self._heads(pixels, perturbed)
        else:
            states = perturbed.read(pixels)
            logits, grid = states.logits.cpu(), states.grid
        targets = torch.from_numpy(request.table.targets(logits, request.target, request.foil, named))
        weights = contrasts(targets, logits.shape[1], request)
        if request.readout is None:
            by_depth = torch.einsum("bkc,bnlc->bkln", weights, evidence)
        else:
            by_depth, explained = cell_scores(request.readout, states, weights).cpu(), logits
        empty = None
        if request.table.task != "regression":
            empty = self._empty_logits(perturbed, pixels, request, grid)
        return Maps(logits, explained, targets, by_depth.double(), empty, grid)

    def _heads(self, pixels: Tensor, perturbed: PerturbedImages) -> tuple[Tensor, Tensor, Tensor, ImageGrid]:
        """Logits and those of the heads (B, C), their evidence (B, N, L, C) weighted by depth, and its grid."""
        inputs = {"pixel_values": pixels.to(self.model.device, self.model.dtype), "return_dict": True}
        whole = perturbed.grid_of(pixels)  # refuses pixels that the model does not read
        output = run_in_eval_mode(self.model, {**inputs, "output_attributions": True})
        settings, depths = self.model.mhex_config, output.head_logits.shape[1]
        weights = depth_weights(settings.aggregation, depths, settings.beta).float()
        rows, cols = output.attribution_grid[0].tolist()
        grid = whole if (whole.rows, whole.cols) == (rows, cols) else ImageGrid(rows, cols)
        evidence = output.layer_attributions.float().cpu() * weights[:, None]
        explained = (output.head_logits.float().cpu() * weights[:, None]).sum(1)
        return logits_of(output).cpu(), explained, evidence, grid

    def _perturbed(self, request: ImageRequest) -> PerturbedImages:
        colour = (request.fit.get("image") or {}).get("colour")
        return PerturbedImages(
            self.model,
            request.fit.get("removal", "mean"),
            None if colour is None else torch.tensor(colour),
            self.batch_size,
            flow=request.readout is not None and request.readout.reads_flow,
            blocks=bool((request.fit.get("image") or {}).get("blocks")),
        )

    def _empty_logits(
        self, perturbed: PerturbedImages, pixels: Tensor, request: ImageRequest, grid: ImageGrid
    ) -> Tensor:
        """(B, C) what the model says of images with nothing in them: known from a fit of its weights, or else asked.

        Blurred images differ, so that each costs a pass.
        """
        image, size = request.fit.get("image") or {}, list(pixels.shape[-2:])
        nothing = torch.zeros(1, grid.cells, dtype=torch.bool)
        if perturbed.removal == "blur":
            return torch.cat(perturbed.kept_logits(pixels, [nothing] * len(pixels), grid))
        if request.fit_holds and image.get("empty") and image.get("size") == size:
            return torch.tensor(image["empty"]).expand(len(pixels), -1)
        (logits,) = perturbed.kept_logits(pixels[:1], [nothing], grid)
        return logits.expand(len(pixels), -1)
