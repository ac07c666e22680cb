# SPDX-License-Identifier: Apache-2.0
"""Where each model family adds its attention output to the residual stream: a table that `register_site` extends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True)
class Site:
    """Where one family exposes the residual addition around its attention block. Paths are dotted submodule names.

    `layers`, from the base model, names the list of layers; `*` descends into every child. `stream` and `output` are
    looked up in each layer. Neither may be a bare `nn.Linear` that an adapter or a quantizer would replace, and neither
    may be the layer itself, whose hooks do not run again when gradient checkpointing recomputes it.

    Args:
        layers: path from the base model to its layers.
        stream: submodule that receives the residual stream (x_global) as argument `arg`.
        output: submodule whose first output is what attention adds to that stream (x).
        addition: submodule that receives exactly x_global + x; documents the row, and the tests prove the row by it.
            `None` where no submodule does.
        arg: position or keyword of the stream in the call of `stream`.
        pre_norm: the stream is not normalised (pre-LN family), so heads divide by its root mean square.
        causal: tokens see only earlier ones, so gates pool only over those.
        pads: padding does not change the plain model's result; `False` makes the explainer batch equal lengths only.
        positions_after_pad: position ids begin after `pad_token_id`, so that many rows of the position table are lost.
        width: config field that holds the stream's width.
        pooled: where the label is read from: the "first" position, the "last" real one, the "mean" of the real ones, or
            the config field that says it ("cls", "bos", "late", "mean"). With it, and attention that goes through
            transformers' `AttentionInterface`, the flow of attention into that place can be followed
            (`heads.attention_flow`).
        sticky: field of the base model that a forward pass may change for good, put back before each call through the
            base model's `set_<field>`.
    """

    layers: str
    stream: str
    output: str
    addition: str | None = None
    arg: int | str = 0
    pre_norm: bool = False
    causal: bool = False
    pads: bool = True
    positions_after_pad: bool = False
    width: str = "hidden_size"
    sticky: str | None = None
    pooled: str | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "stream", "output"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"Site.{name} must be a dotted submodule path, got {value!r}.")

    def pooled_position(self, config: Any) -> str | None:
        """ "first", "last" or "mean" by the table or the model's config; `None` where that is not known."""
        if self.pooled in (None, "first", "last", "mean"):
            return self.pooled
        return {"cls": "first", "bos": "first", "late": "last", "mean": "mean"}.get(
            getattr(config, str(self.pooled), "")
        )

    def find_layers(self, base_model: nn.Module) -> list[nn.Module]:
        """The layer modules in order of depth; a shared layer (ALBERT) appears once.

        Raises:
            ValueError: `base_model` has no such path, or a layer lacks `stream` or `output`.
        """
        modules: list[nn.Module] = [base_model]
        try:
            for name in self.layers.split("."):
                modules = [
                    child for m in modules for child in (m.children() if name == "*" else [m.get_submodule(name)])
                ]
            layers = [child for m in modules for child in (m if isinstance(m, nn.ModuleList) else [m])]
            for layer in layers:
                layer.get_submodule(self.stream)
                layer.get_submodule(self.output)
        except AttributeError as error:
            raise ValueError(f"{self} does not fit {type(base_model).__name__}: {error}.") from error
        if not layers:
            raise ValueError(f"{self} finds no layer in {type(base_model).__name__}.")
        return layers


_BERT = Site("encoder.layer", "attention", "attention.output.dropout", "attention.output.LayerNorm", pooled="first")
_ROBERTA = replace(_BERT, positions_after_pad=True)
_LLAMA = Site(
    "layers", "input_layernorm", "self_attn", "post_attention_layernorm", pre_norm=True, causal=True, pooled="last"
)


def _pre_norm_bert(addition: str) -> Site:
    return replace(_BERT, addition=addition, pre_norm=True)


SITES: dict[str, Site] = {
    **dict.fromkeys(["bert", "electra", "ernie", "layoutlm", "deberta", "deberta-v2", "roformer", "rembert"], _BERT),
    **dict.fromkeys(["roberta", "xlm-roberta", "camembert", "data2vec-text", "longformer", "luke", "ibert"], _ROBERTA),
    **dict.fromkeys(["llama", "mistral", "qwen2", "qwen3"], _LLAMA),
    "albert": Site(
        "encoder.albert_layer_groups.*.albert_layers",
        "attention",
        "attention.output_dropout",
        "attention.LayerNorm",
        pooled="first",
    ),
    "bart": Site("encoder.layers", "self_attn", "self_attn", "self_attn_layer_norm"),
    "big_bird": replace(_BERT, pads=False, sticky="attention_type"),
    "convbert": replace(_BERT, pads=False),
    "distilbert": Site("transformer.layer", "attention", "attention", "sa_layer_norm", pooled="first"),
    "eurobert": Site(
        "layers",
        "input_layernorm",
        "self_attn",
        "post_attention_layernorm",
        pre_norm=True,
        pooled="classifier_pooling",
    ),
    "fnet": Site("encoder.layer", "fourier", "fourier.self", "fourier.output.LayerNorm", pads=False),
    "gemma2": Site(
        "layers",
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        pre_norm=True,
        causal=True,
        pooled="last",
    ),
    "gpt2": Site("h", "ln_1", "attn", "ln_2", pre_norm=True, causal=True, pooled="last"),
    "megatron-bert": _pre_norm_bert("ln"),
    "mobilebert": Site(
        "encoder.layer",
        "attention",
        "attention.output.dense",  # a bare Linear, there is nothing else: no adapter may replace it
        "attention.output.LayerNorm",
        arg=3,
        pads=False,  # its embeddings join each token with the next one, which is padding at a text's end
        width="true_hidden_size",
        pooled="first",
    ),
    "modernbert": Site("layers", "attn_norm", "attn", "mlp_norm", pre_norm=True, pooled="classifier_pooling"),
    "mpnet": Site("encoder.layer", "attention", "attention.attn", "attention.LayerNorm", positions_after_pad=True),
    "nystromformer": replace(_BERT, pads=False),
    "roberta-prelayernorm": replace(_pre_norm_bert("intermediate.LayerNorm"), positions_after_pad=True),
    "t5": Site("encoder.block", "layer.0", "layer.0.SelfAttention", "layer.1.layer_norm", pre_norm=True),
    "xlm-roberta-xl": replace(_pre_norm_bert("LayerNorm"), positions_after_pad=True),
}


def register_site(model_type: str, site: Site) -> None:
    """Teaches the library a family: `model_type` is `model.config.model_type`, `site` where its residual is added.

    Raises:
        TypeError: an argument of the wrong type.
    """
    if not isinstance(model_type, str) or not model_type:
        raise TypeError(f"model_type must be a non-empty string such as 'bert', got {model_type!r}.")
    if not isinstance(site, Site):
        raise TypeError(f"site must be a mhex_nlp.Site, got {type(site).__name__}.")
    SITES[model_type] = site


def find_site(model_type: str) -> Site:
    """The row of `model_type`.

    Raises:
        ValueError: no such row; the sentence names `register_site` and what to pass.
    """
    try:
        return SITES[model_type]
    except KeyError:
        raise ValueError(
            f"mhex_nlp does not know where the family {model_type!r} adds attention to its residual stream; call "
            f"register_site({model_type!r}, Site(layers=..., stream=..., output=...)) with the path of the layers in "
            "the base model, the submodule of a layer that receives the residual stream, and the submodule whose "
            f"output attention adds to it (known families: {', '.join(sorted(SITES))})."
        ) from None
