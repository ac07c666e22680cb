# SPDX-License-Identifier: Apache-2.0
"""`MhexExplainer`: texts in, Explanations out, one forward pass a batch."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from . import __version__
from .alignment import align
from .attribution import aggregate, contrast, depth_weights
from .batching import token_batches
from .classes import ClassName, ClassTable
from .config import AGGREGATIONS
from .devices import resolve
from .explanation import Explanation, HeadsChoice, Method, ModelRef, Token
from .inputs import TokenisedText, check_pairs, check_texts, collate, longest_input, tokenise
from .modeling import AutoMhexModelForSequenceClassification, forward_arguments
from .sites import find_site


class CallOptions(TypedDict, total=False):
    """Keyword options of one call of `MhexExplainer`, and of its `stream`."""

    target: ClassName | None
    foil: ClassName | None
    classes: Literal["target", "all"]
    layers: bool
    ids: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class _Request:
    target: int | None
    foil: int | None
    all_classes: bool
    layers: bool


class MhexExplainer:
    """Explains a classifier with trained MHEX heads: which tokens made it decide, and for what.

    >>> explainer = MhexExplainer(model, tokenizer)
    >>> explainer("The plot was thin but the acting was superb.").show()

    Args:
        model: a model with MHEX heads (`AutoMhexModelForSequenceClassification`, `get_mhex_model`).
        tokenizer: its fast tokenizer.
        aggregation: "mean", "last", "ema", or "auto" for what the model's `MhexConfig` says.
        contrast: "centred" takes the mean over classes off each score, "none" leaves it; "auto" centres for
            single-label models. A `foil` given in the call goes before.
        non_negative: clamp scores at 0 (the paper's map); sums then promise nothing.
        batch_tokens: texts times longest text of one batch, padding included.
        max_length: tokens a text is cut at; by default what the model takes.
        language: spaCy language whose tokenizer makes the words, such as "en"; by default runs of letters and digits.

    Raises:
        TypeError, ValueError: a model without heads (names `get_mhex_model`), a slow tokenizer, an unknown option.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        aggregation: str = "auto",
        contrast: str = "auto",
        non_negative: bool = False,
        batch_tokens: int = 4096,
        max_length: int | None = None,
        language: str | None = None,
    ) -> None:
        if not isinstance(getattr(model, "mhex", None), nn.ModuleList):
            raise ValueError(
                f"model must have MHEX heads, got a {type(model).__name__} without any; "
                "get_mhex_model(model) gives it some."
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"tokenizer must be a fast tokenizer, which knows the offsets of its tokens, got a slow "
                f"{type(tokenizer).__name__}."
            )
        self.model, self.tokenizer, self.language = model, tokenizer, language
        self.non_negative, self.batch_tokens = non_negative, batch_tokens
        self._site = find_site(model.config.model_type)
        self._accepts = forward_arguments(model)
        self.classes = ClassTable(model.config)
        self.aggregation = self._check_aggregation(aggregation)
        self.contrast = self._check_contrast(contrast)
        token_batches([], batch_tokens)  # refuses a bad budget here rather than at the first text
        longest = longest_input(tokenizer, model.config, self._site)
        if max_length is not None and (max_length < 1 or (longest is not None and max_length > longest)):
            raise ValueError(
                f"max_length must be between 1 and the {longest} tokens the model takes, got {max_length}."
            )
        self.max_length = longest if max_length is None else max_length

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> MhexExplainer:
        """Loads model and tokenizer from a folder or the hub; `options` are those of the class.

        Raises:
            ValueError: a dtype that the device cannot compute in, or no such device.
        """
        where, kind = resolve(device, dtype)
        given = {} if kind is None else {"dtype": kind}
        model = AutoMhexModelForSequenceClassification.from_pretrained(name, revision=revision, **given)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        return cls(model.to(where).eval(), tokenizer, **options)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self, text: str, text_pair: Any = None, **options: Unpack[CallOptions]
    ) -> Explanation: ...
    @overload
    def __call__(
        self, text: Iterable[str], text_pair: Any = None, **options: Unpack[CallOptions]
    ) -> list[Explanation]: ...

    def __call__(
        self,
        text: str | Iterable[str],
        text_pair: Any = None,
        *,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: Literal["target", "all"] = "target",
        layers: bool = False,
        ids: Sequence[str] | None = None,
    ) -> Any:
        """Explains one text, or a list of texts in one go.

        Args:
            text: a string, or any iterable of strings.
            text_pair: the second half of a pair, or one for each text.
            target: the class explained, by name or id; by default the one the model predicts.
            foil: a class to compare with: scores say what speaks for the target rather than for the foil.
            classes: "all" adds the scores of every class to the tokens.
            layers: adds what each depth contributes; over depths it sums to the score.
            ids: a name for each explanation; by default its position.

        Returns:
            an `Explanation`, or a list of them in the order of the texts.

        Raises:
            TypeError, ValueError: empty text, `None`, a number, half a pair, an unknown class, a foil that makes no
                sense, heads that were never trained.
        """
        texts = check_texts(text)
        pairs = check_pairs(texts, text_pair)
        names = [str(index) for index in range(len(texts))] if ids is None else [str(name) for name in ids]
        if len(names) != len(texts):
            raise ValueError(f"ids must have one entry for each of the {len(texts)} texts, got {len(names)}.")
        if classes not in ("target", "all"):
            raise ValueError(f"classes must be 'target' or 'all', got {classes!r}.")
        asked = _Request(
            target=None if target is None else self.classes.id_of(target, "target"),
            foil=None if foil is None else self.classes.foil_id(foil),
            all_classes=classes == "all",
            layers=layers,
        )
        self._check_trained()
        if not texts:
            return []
        items = tokenise(self.tokenizer, texts, pairs, self.max_length, self._accepts)
        found: dict[int, Explanation] = {}
        pad, equal = self._padding()
        with self._inference():
            for batch in token_batches([len(item) for item in items], self.batch_tokens, equal_lengths=equal):
                for rows in [batch] if pad is not None else [[index] for index in batch]:
                    made = self._explain([items[i] for i in rows], [names[i] for i in rows], pad or 0, asked)
                    found.update(zip(rows, made, strict=True))
        results = [found[index] for index in range(len(texts))]
        cut = [index for index, item in enumerate(items) if item.truncated]
        if cut:
            more = f" (and {len(cut) - 1} more)" if len(cut) > 1 else ""
            warnings.warn(f"text {names[cut[0]]}{more}: {items[cut[0]].cut_note()}", stacklevel=2)
        return results[0] if isinstance(text, str) else results

    def stream(
        self,
        texts: Iterable[str],
        text_pairs: Iterable[str] | None = None,
        *,
        batch_size: int = 64,
        **options: Any,
    ) -> Iterator[Explanation]:
        """Explains texts as they come, `batch_size` at a time, in order and in constant memory; options of the call."""
        if isinstance(texts, str):
            raise TypeError("texts must be an iterable of strings, got one string.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        rows: Iterator[Any] = iter(texts) if text_pairs is None else zip(texts, text_pairs, strict=True)
        start = 0
        while chunk := list(itertools.islice(rows, batch_size)):
            names = [str(start + offset) for offset in range(len(chunk))]
            first, second = (chunk, None) if text_pairs is None else map(list, zip(*chunk, strict=True))
            yield from self(first, second, ids=names, **options)
            start += len(chunk)

    def _explain(
        self, items: Sequence[TokenisedText], names: Sequence[str], pad_token_id: int, asked: _Request
    ) -> Iterator[Explanation]:
        """One forward pass: the explanations of a batch, in its order."""
        features = collate(items, pad_token_id, self._accepts)
        inputs = {name: value.to(self.model.device) for name, value in features.items()}
        output = self.model(**inputs, output_attributions=True, return_dict=True)
        logits = output.logits.float().cpu()  # (B, C)
        if not torch.isfinite(logits).all():
            raise ValueError("the model's logits are not finite, so nothing can be explained.")
        return self._assemble(items, names, logits, output, asked)

    def _assemble(
        self,
        items: Sequence[TokenisedText],
        names: Sequence[str],
        logits: Tensor,
        output: Any,
        asked: _Request,
    ) -> Iterator[Explanation]:
        per_depth, head_logits = output.layer_attributions.cpu(), output.head_logits.cpu()  # (B, T, L, C), (B, L, C)
        weights = depth_weights(self.aggregation, per_depth.shape[2], self.model.mhex_config.beta)
        targets = self.classes.targets(logits, asked.target, asked.foil)  # (B,)
        foils = None if asked.foil is None else torch.full_like(targets, asked.foil)
        kind = self.contrast if foils is None else "foil"
        phi = aggregate(per_depth, weights)  # (B, T, C)
        rows = {"score": contrast(phi, targets, kind, foils)}  # (B, T)
        if asked.all_classes:
            each = [contrast(phi, torch.full_like(targets, c), kind, foils) for c in range(len(self.classes))]
            rows["scores"] = torch.stack(each, dim=-1)  # (B, T, C)
        if asked.layers:
            rows["layers"] = contrast(per_depth * weights.float()[:, None], targets, kind, foils)  # (B, T, L)
        if self.non_negative:
            rows = {name: value.clamp(min=0) for name, value in rows.items()}
        chosen = aggregate(head_logits, weights)  # (B, C)
        bases = contrast(chosen - phi.sum(1), targets, kind, foils)  # (B,), the heads' biases
        for row, (item, name) in enumerate(zip(items, names, strict=True)):
            tokens = self._tokens(item, {key: value[row, : len(item)].tolist() for key, value in rows.items()})
            heads = self.classes.heads_choice(chosen[row], logits[row])
            yield Explanation(
                id=name,
                text=item.text,
                text_pair=item.text_pair,
                prediction=self.classes.prediction(logits[row]),
                target=self.classes.ref(int(targets[row])),
                foil=None if asked.foil is None else self.classes.ref(asked.foil),
                method=self._method(kind),
                model=self._model_ref(),
                library=f"mhex_nlp {__version__}",
                heads=heads,
                tokens=tokens,
                sum=math.fsum(token.score for token in tokens),
                base_value=float(bases[row]),
                classes=self.classes.labels if asked.all_classes else None,
                truncated=item.truncated,
                windows=1,
                notes=_notes(item, heads),
            )

    def _tokens(self, item: TokenisedText, rows: dict[str, Any]) -> tuple[Token, ...]:
        return tuple(
            Token(
                text=aligned.text,
                piece=aligned.piece,
                start=aligned.start,
                end=aligned.end,
                sequence=aligned.sequence,
                word=aligned.word,
                special=aligned.special,
                score=rows["score"][index],
                scores=tuple(rows["scores"][index]) if "scores" in rows else None,
                layers=tuple(rows["layers"][index]) if "layers" in rows else None,
            )
            for index, aligned in enumerate(align(item.encoding, item.text, item.text_pair, language=self.language))
        )

    def _method(self, kind: Any) -> Method:
        aggregation: Any = self.aggregation
        return Method("mhex", "heads", aggregation, kind, self.non_negative, None, False, None, None)

    def _model_ref(self) -> ModelRef:
        config = self.model.config
        revision = getattr(config, "_commit_hash", None)
        return ModelRef(config._name_or_path or type(self.model).__name__, revision and str(revision))

    def _check_aggregation(self, name: str) -> str:
        if name not in ("auto", *AGGREGATIONS):
            raise ValueError(f"aggregation must be one of {['auto', *AGGREGATIONS]}, got {name!r}.")
        chosen = self.model.mhex_config.aggregation if name == "auto" else name
        if chosen == "fitted":
            raise ValueError("aggregation='fitted' needs fitted equivalent matrices, which this model does not have.")
        return str(chosen)

    def _check_contrast(self, name: str) -> str:
        if name not in ("auto", "centred", "none"):
            raise ValueError(f"contrast must be 'auto', 'centred' or 'none', got {name!r}.")
        if name == "centred" and not self.classes.exclusive:
            raise ValueError(
                f"contrast='centred' compares classes that exclude each other, got a model for {self.classes.task}."
            )
        return ("centred" if self.classes.exclusive else "none") if name == "auto" else name

    def _check_trained(self) -> None:
        with torch.no_grad():
            if not any(bool(head.equivalent_matrix.any()) for head in self.model.mhex):
                raise ValueError(
                    "the MHEX heads of this model were never trained, so every attribution would be zero: fine-tune "
                    "the model with its heads (Trainer, `mhex finetune` or a loop of your own)."
                )

    def _padding(self) -> tuple[int | None, bool]:
        """The id to pad with (`None`: one text a batch) and whether only equal lengths share a batch."""
        pad = self.model.config.pad_token_id
        if pad is None and not self._site.causal:  # a decoder finds its last token by its own pad id alone
            pad = self.tokenizer.pad_token_id
        return pad, not self._site.pads

    @contextmanager
    def _inference(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)


def _notes(item: TokenisedText, heads: HeadsChoice | None) -> tuple[str, ...]:
    notes = [item.cut_note()] if item.truncated else []
    if heads is not None and not heads.agrees:
        notes.append(f"The heads choose {heads.label}, the model does not: the scores explain the heads.")
    return tuple(notes)
