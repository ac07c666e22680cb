# SPDX-License-Identifier: Apache-2.0
"""Sentence embeddings: which words of a text make it near to a query? Regression to the cosine, nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from standin import options
from torch.nn import functional as F
from transformers import AutoTokenizer, BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, register_site
from mhex_nlp.cli.demo.corpus import load_corpus
from mhex_nlp.cli.demo.encoder import minilm_path
from mhex_nlp.models.families import SITES

QUERY = "The food in this restaurant was delicious."


class SimilarityForSequenceClassification(BertForSequenceClassification):
    """A BERT sentence encoder (mean of the tokens) whose one output is the cosine with a query's embedding."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None, **_: Any) -> Any:
        states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        embedding = (states * mask).sum(1) / mask.sum(1)
        return SequenceClassifierOutput(logits=F.cosine_similarity(embedding, self.query)[:, None])

    def look_for(self, query: Any) -> None:
        """Sets the query, from its tokens as tensors."""
        self.register_buffer("query", torch.zeros(self.config.hidden_size))
        states, mask = self.bert(**query).last_hidden_state, query["attention_mask"][..., None]
        self.query = ((states * mask).sum(1) / mask.sum(1))[0].detach()


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, default=80, help="of the fit; more are better")
    parser.add_argument("--budget", type=int, default=64, help="further passes over each text that is explained")
    args = parser.parse_args(arguments)
    name = args.model or str(minilm_path())
    tokenizer = AutoTokenizer.from_pretrained(name)
    encoder = SimilarityForSequenceClassification.from_pretrained(name, num_labels=1, problem_type="regression").eval()
    with torch.no_grad():
        encoder.look_for(tokenizer(QUERY, return_tensors="pt"))
    # BERT's layers, but the output is a mean over the tokens and not read off the first one
    register_site("sentence-bert", replace(SITES["bert"], pooled="mean"))
    encoder.config.model_type = "sentence-bert"
    model = get_mhex_model(encoder, MhexConfig(gate=False))
    texts = [sentence.text for sentence in load_corpus("train")][: args.texts]
    report = fit_equivalent_matrices(model, tokenizer, texts, attainable_texts=0, held_out=0.2, progress=False)
    print(f"Near to {QUERY!r}? One pass explains {report.skill:.2f} of what the cosine does when words are masked.\n")

    explainer = MhexExplainer(model, tokenizer)
    pair = ["The waiter was rude, but the soup tasted great.", "The train to Basel leaves at noon."]
    near, far = explainer(pair, budget=args.budget)  # so small a fit is a start alone
    for one in (near, far):
        words = ", ".join(f"{word.text!r} {word.score:+.3f} ± {word.error:.3f}" for word in one.top(3))
        print(f"cosine {one.prediction.value:.2f}  {one.text}\n  brought near by {words}")
    return {"near": near, "far": far, "skill": report.skill}


if __name__ == "__main__":
    main()
