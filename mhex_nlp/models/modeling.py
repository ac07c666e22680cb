# SPDX-License-Identifier: Apache-2.0
"""Models with MHEX heads: the mixin, and one class per transformers class.

    MhexBertForSequenceClassification = type("Mhex...", (MhexMixin, BertForSequenceClassification), ...)

Axes: B texts, T tokens, H hidden units, L depths, C labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from .checkpoint import auto_map, ensure_card, write_shim
from .config import MhexConfig
from .families import Site, find_site
from .fit_record import check_fit
from .forward import argument_names, make_forward
from .heads.head import MhexHead
from .heads.readout import FeatureLayout, FittedReadout
from .hooks import attach_heads, checkpoint_contexts, detach_heads, shared_copy
from .image_families import ImageSite, find_image_site
from .image_forward import make_image_forward
from .image_hooks import attach_image_heads, detach_image_heads, image_heads
from .loading import check_loading, check_stored_dtypes, check_task, readable
from .outputs import EXTRA_OUTPUTS
from .tasks import module_of
from .tasks.names import Task, auto_class, task_named, task_of

# to a type checker the mixin is the model that it is mixed into
_Mixed: Any = PreTrainedModel if TYPE_CHECKING else object
_TRAINED = itertools.count()
_MOST_DEPTHS = 2**10


class MhexMixin(_Mixed):
    """Adds `self.mhex`, one head per layer, to a transformers model of one of our tasks. Made by `mhex_class`.

    The heads are one top-level list: `base_model.save_pretrained` stays a clean plain checkpoint, and "mhex." is one
    prefix for parameter groups, freezing and saving.
    """

    # The loss is a mean over the batch it is given. Without this line Trainer believes that a forward with **kwargs
    # divides by the items of all accumulation steps, and scales the loss with their number.
    accepts_loss_kwargs = False

    def __init__(self, config: PretrainedConfig, *args: Any, mhex: MhexConfig | Mapping | None = None, **kwargs: Any):
        # `from_pretrained` says mhex_settings: transformers would put `mhex` on a config that has one already
        settings = kwargs.pop("mhex_settings", mhex)
        super().__init__(config, *args, **kwargs)
        kept = getattr(config, "mhex", None)
        self._stored_settings = stored = None if kept is None else MhexConfig.stored(kept, _config_of(config))
        if isinstance(settings, Mapping) and stored is not None:
            settings = {**stored.to_dict(), **settings}
        self._add_heads(settings_for(self.task, stored if settings is None else settings))
        self.post_init()

    def _add_heads(self, mhex: MhexConfig) -> None:
        config = self.config
        if mhex.faithfulness_weight and self.task != "sequence_classification":
            raise ValueError(
                f"faithfulness_weight must be 0 for {type(self).__name__}, as it is for text classifiers alone, got "
                f"{mhex.faithfulness_weight!r}."
            )
        config.mhex = mhex.to_dict()
        # transformers falls back to ["past_key_values"] where a config names nothing
        ignored = getattr(config, "keys_to_ignore_at_inference", ["past_key_values"])
        config.keys_to_ignore_at_inference = sorted({*ignored, *EXTRA_OUTPUTS})
        if self.task == "image_classification":
            self.mhex = image_heads(self, mhex.gate)
            attach_image_heads(self, list(self.mhex), self.mhex_site)
        else:
            self._add_text_heads(mhex)
        if getattr(config, "mhex_fit", None) is not None:
            self.add_readout(config.mhex_fit)

    def _add_text_heads(self, mhex: MhexConfig) -> None:
        config, site = self.config, self.mhex_site
        width = getattr(config, site.width, None) or config.hidden_size
        self.mhex = nn.ModuleList(
            MhexHead(
                width,
                module_of(self).label_count(config),
                gate=mhex.gate,
                causal=site.causal or bool(getattr(config, "is_decoder", False)),
                pre_norm=site.pre_norm,
            )
            for _ in site.find_layers(self.base_model)
        )
        attach_heads(self.base_model, list(self.mhex), site)

    def add_readout(
        self, fit: dict[str, Any], weights: Tensor | None = None, where: str | None = None
    ) -> FittedReadout:
        """Fitted matrices, NaN without `weights` (F, C); `fit` is the record of the fit that `config.mhex_fit` keeps.

        They are put in whole, with their record: passes of other threads read these or those of before.

        Raises:
            ValueError: what no fit of this model could have said; names `where` it stands, by default the config.
        """
        if self.task == "image_classification":  # whose families have as many depths as they like
            depths = _MOST_DEPTHS
        else:
            depths = 2 + (self.config.num_hidden_layers if "*" in self.mhex_site.layers else len(self.mhex))
        check_fit(fit, depths, where or _config_of(self.config), self.task)
        # of the model's own dtype from the start: matrices filled in another one would be rounded to it
        labels = module_of(self).label_count(self.config)
        readout = FittedReadout(FeatureLayout.of(fit), labels).to(self.device, self.dtype)
        readout.train(self.training).record = fit
        if weights is not None:
            with torch.no_grad():
                readout.fill(weights.float())
        self.config.mhex_fit = fit
        self.mhex_fit = readout
        return readout

    def train(self, mode: bool = True) -> Any:
        """As torch's own; `last_trained` is new each time, which tells a pass in eval mode that it was disturbed."""
        if mode:
            self.last_trained = next(_TRAINED)
        return super().train(mode)

    def drop_readout(self) -> None:
        """Takes fitted matrices out: training changes the model that they explain."""
        if getattr(self, "mhex_fit", None) is not None:
            del self.mhex_fit
            self.config.mhex_fit = None

    @classmethod
    def _from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """As transformers' own: weights are drawn, so that no fit of other weights goes with them."""
        model = super()._from_config(config, **kwargs)
        model.drop_readout()
        return model

    @property
    def fit_record(self) -> dict[str, Any] | None:
        """What `config.mhex_fit` says of the fitted matrices; `None` where the model holds none."""
        readout, record = getattr(self, "mhex_fit", None), getattr(self.config, "mhex_fit", None)
        return None if record is None or readout is None or not readout.filled else dict(record)

    @property
    def task(self) -> Task:
        """What one output of the model is, such as "token_classification"."""
        return task_of(type(self))

    @property
    def mhex_site(self) -> Any:
        """Where the family adds to its residual stream: a `Site`, or an `ImageSite` of images, `None` without heads."""
        return site_of(self.config.model_type, self.task)

    @property
    def mhex_config(self) -> MhexConfig:
        """The heads' settings, as kept in `config.mhex`."""
        return MhexConfig.of(self.config.mhex)

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: the architecture is the base's own.

        transformers skips `_init_weights` for modules without direct parameters, and checkpoint conversions, in
        classes that live outside it; a fresh T5 classification head would start at std 1.0 instead of 0.18.
        """
        return False

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoModel") -> None:
        """Nothing to register: the checkpoint's `auto_map` names a one-line import.

        transformers would copy this file into every checkpoint saved again after a `trust_remote_code` load.
        """

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MhexHead):
            module.reset_parameters()

    @classmethod
    def from_pretrained(cls, name: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As transformers' own. A plain checkpoint gets fresh heads; one with heads must have all of its weights.

        `mhex` as a `MhexConfig` replaces the settings that the checkpoint carries; as a dict it changes those it names.
        A base model is a start for training: what of it is new is drawn, and it explains nothing before. With
        `ignore_mismatched_sizes=True`, and where heads start anew, a fit that was there is dropped.

        Raises:
            ValueError: a model for another task, heads or other weights that do not fit the config or are missing from
                the layers, or a file that cannot be read.
            OSError: a file is missing (transformers' own sentence).
        """
        ignore = kwargs.pop("ignore_mismatched_sizes", False)
        kwargs = with_settings(kwargs)
        with readable(name):
            model, info = super().from_pretrained(
                name, *args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
            check_stored_dtypes(model, name, kwargs)
        check_task(model.config, name, task_of(cls))
        chosen = kwargs.get("mhex_settings") is not None
        check_loading(model, info, name, ignore_mismatched=ignore, new_heads=chosen)
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> Any:
        """As transformers' own, with `auto_map`, its one-line module and a model card that says how to load it."""
        if getattr(self, "_hf_peft_config_loaded", False):
            raise ValueError(
                "save_pretrained would keep the adapters alone and lose the MHEX heads; merge the adapters first, or "
                "make them with peft.get_peft_model, whose save_pretrained and save_explainer share a folder."
            )
        if self.fit_record is None:
            self.drop_readout()  # room that was never filled
        name = type(self).__name__
        if is_main_process and not Path(save_directory).is_file():
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            ensure_card(Path(save_directory), name, auto_class(self.task), gate=self.mhex_config.gate)
            if hasattr(transformers, name.removeprefix("Mhex")):  # a class of the user's own cannot be imported from us
                write_shim(Path(save_directory), name)
                self.config.auto_map = auto_map(name, auto_class(self.task))
        return super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)

    def _upload_modified_files(self, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
        # push_to_hub replaces the card just before this call; without it the card would not say how to load the model
        ensure_card(Path(working_dir), type(self).__name__, auto_class(self.task), gate=self.mhex_config.gate)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """As transformers' own (`gradient_checkpointing_enable` comes through here), non-reentrant only.

        Raises:
            ValueError: `use_reentrant=True`, which would silently leave the heads without gradient, or a `context_fn`.
        """
        chosen = {"use_reentrant": False, **(activation_checkpointing_kwargs or {})}
        if chosen["use_reentrant"]:
            raise ValueError(
                "use_reentrant must be False for a model with MHEX heads, got True: reentrant checkpointing runs the "
                "layers without gradient, so the heads would never learn."
            )
        if chosen.get("context_fn") is not None:
            raise ValueError("context_fn cannot be given for a model with MHEX heads, which need it for their own.")
        super().activation_checkpointing_enable({**chosen, "context_fn": checkpoint_contexts}, **kwargs)

    def without_heads(self) -> PreTrainedModel:
        """The plain model, sharing this one's tensors; its logits are those of this model.

        Raises:
            ValueError: the heads have gates, which take part in the predictions.
        """
        if self.mhex_config.gate:
            raise ValueError(
                "without_heads() would change the predictions of a model with gates (MhexConfig(gate=True))."
            )
        plain = shared_copy(self)
        if self.task == "image_classification":
            detach_image_heads(plain)
        else:
            detach_heads(plain.base_model, self.mhex_site)
        del plain.mhex, plain.config.mhex
        if hasattr(plain, "mhex_fit"):
            del plain.mhex_fit, plain.config.mhex_fit
        plain.config.keys_to_ignore_at_inference = [
            key for key in plain.config.keys_to_ignore_at_inference if key not in EXTRA_OUTPUTS
        ]
        if hasattr(plain.config, "auto_map"):
            del plain.config.auto_map
        plain.__class__ = type(self).__bases__[1]
        return plain


def forward_arguments(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of the inputs that the model's forward takes; in order, since sets are hashed anew in each process."""
    base = next(cls for cls in type(model).__mro__ if not issubclass(cls, MhexMixin))
    return argument_names(base)


def site_of(model_type: str, task: Task) -> Site | ImageSite | None:
    """Where a family adds to its residual stream; `None` where image classifiers of it get no heads.

    Raises:
        ValueError: no text family that we know, as `find_site`.
    """
    return find_image_site(model_type) if task == "image_classification" else find_site(model_type)


def settings_for(task: Task, settings: MhexConfig | Mapping | None) -> MhexConfig:
    """The heads' settings; of image classifiers the gates are off unless they are asked for."""
    if task == "image_classification" and not isinstance(settings, MhexConfig):
        settings = {"gate": False} if settings is None else {"gate": False, **settings}
    return MhexConfig.of(settings)


def _config_of(config: PretrainedConfig) -> str:
    """What a sentence calls the config."""
    return f"the config of {config._name_or_path or config.model_type}"


def with_settings(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`mhex` under the name that reaches the model's `__init__` whatever the config holds, checked."""
    kwargs = dict(kwargs)
    if (settings := kwargs.pop("mhex", None)) is not None:
        MhexConfig.of(settings)
        kwargs["mhex_settings"] = settings
    return kwargs


_CLASSES: dict[type[PreTrainedModel], type[PreTrainedModel]] = {}


def mhex_class(base: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """`BertForSequenceClassification` to `MhexBertForSequenceClassification`: the same class object every time."""
    if base not in _CLASSES:
        body = {
            "__module__": __package__,
            "__doc__": f"{base.__name__} with MHEX heads.",
            "forward": (make_image_forward if task_of(base) == "image_classification" else make_forward)(base),
        }
        _CLASSES[base] = type(f"Mhex{base.__name__}", (MhexMixin, base), body)
    return _CLASSES[base]


def class_named(name: str) -> type[PreTrainedModel] | None:
    """The class with heads of this name, such as `MhexBertForSequenceClassification`; `None` where there is none."""
    plain = name.removeprefix("Mhex")
    if plain != name and task_named(plain) is not None and hasattr(transformers, plain):
        return mhex_class(getattr(transformers, plain))
    return None
