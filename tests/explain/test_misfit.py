# SPDX-License-Identifier: Apache-2.0
"""The misfit: what the scores miss of a text less the empty one, known without a further pass."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
import torch

from helpers.families import train_heads
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.json_form import explanation_schema
from mhex_nlp.models.fit_record import check_fit

TOKENIZER = tiny_tokenizer()


def fitted(pairs: bool = False, **options):
    config = {"num_labels": 3, "dropout": 0.0, "initializer_range": 0.3, **options}
    model = get_mhex_model(tiny_bert(**config, id2label=None, label2id=None).eval(), MhexConfig(gate=False))
    report = fit_equivalent_matrices(
        model, TOKENIZER, texts(300), texts(300, seed=1) if pairs else None, attainable_texts=0
    )
    return MhexExplainer(model, TOKENIZER), report


@pytest.fixture(scope="module")
def explainer():
    return fitted()[0]


def missed(explainer, e) -> float:
    """v(N) - v(empty) - the sum of the scores, asked of the model."""
    whole = TOKENIZER(e.text, e.text_pair, return_tensors="pt")
    empty = {name: value.clone() for name, value in whole.items()}
    content = torch.tensor([owner is not None for owner in whole.encodings[0].sequence_ids])
    empty["input_ids"][0, content] = TOKENIZER.mask_token_id
    with torch.no_grad():
        worth = [explainer.model(**inputs).logits[0].double() for inputs in (whole, empty)]
    value = (worth[0] - worth[1])[e.target.id]
    less = {"foil": lambda x: x[e.foil.id], "centred": lambda x: x.mean(), "none": lambda x: 0.0}[e.method.contrast]
    return float(value - less(worth[0] - worth[1])) - e.sum


@pytest.mark.parametrize("options", [{}, {"target": 1}, {"target": 0, "foil": 2}, {"classes": "all"}])
def test_it_is_what_the_model_says_without_a_pass_for_it(explainer, options):
    rows = []
    explainer.model.bert.register_forward_pre_hook(lambda *_: rows.append(1))
    explanations = explainer(texts(30, seed=2), **options)
    assert len(rows) == 1, "one batch"
    explainer.model.bert._forward_pre_hooks.clear()
    for e in explanations:
        assert e.misfit == pytest.approx(missed(explainer, e), abs=2e-3)
    assert max(abs(e.misfit) for e in explanations) > 0.1


def test_nine_in_ten_of_the_fits_kind_are_usual_and_a_foil_has_a_scale_of_its_own(explainer):
    kinds = [{}, {"target": 0, "foil": 2}]
    shares = [np.mean([e.misfit_is_large for e in explainer(texts(200, seed=2), **kind)]) for kind in kinds]
    assert all(0.02 < share < 0.25 for share in shares), shares
    usual, of_foil = (explainer("good film", **kind).method.usual_misfit for kind in kinds)
    assert usual == explainer.model.config.mhex_fit["misfit"][1] and of_foil == pytest.approx(usual * 3**0.5)


def test_a_budget_leaves_no_misfit(explainer):
    for e in explainer(texts(8, seed=2), budget=8):
        assert e.misfit == pytest.approx(0, abs=1e-4) and not e.misfit_is_large
    supervised = MhexExplainer(train_heads(explainer.model), TOKENIZER, aggregation="mean")
    assert supervised("good film").misfit is None and supervised("good film", budget=2).misfit == pytest.approx(
        0, abs=1e-4
    )


def test_pairs_windows_and_long_texts():
    explainer, report = fitted(pairs=True)
    explanations = explainer(texts(40, seed=3), texts(40, seed=4), target=0)
    known, true = np.array([(e.misfit, missed(explainer, e)) for e in explanations]).T
    assert np.corrcoef(known, true)[0, 1] > 0.7, "where the halves meet matters a little"
    explainer, report = fitted()
    assert report.longest < report.empty["lengths"][-1] <= 62
    long = " ".join(texts(9, seed=3)[:5])
    assert explainer(long).misfit == pytest.approx(missed(explainer, explainer(long)), abs=0.3 * report.misfit[1])
    windows = MhexExplainer(explainer.model, TOKENIZER, max_length=12, stride=2)(long)
    parts = [windows.base_value - windows.misfit, *np.array(report.empty["values"])[:, windows.target.id]]
    assert windows.windows > 1 and min(parts[1:]) <= parts[0] <= max(parts[1:])


def test_it_is_not_known_of_other_weights_earlier_fits_and_lengths_beyond():
    explainer, _ = fitted()
    record = explainer.model.config.mhex_fit
    record["empty"] = {"lengths": [2, 5], "values": [[0.0] * 3] * 2}
    assert [e.misfit is None for e in explainer(["film", "good film", "a b c d e f"])] == [True, False, True]
    del record["empty"], record["misfit"]
    e = explainer("good film")
    assert e.misfit is None and e.method.usual_misfit is None and "misfit" not in e.to_dict() and not e.misfit_is_large
    explainer, _ = fitted()
    with torch.no_grad():
        explainer.model.classifier.bias.add_(1.0)
    e = MhexExplainer(explainer.model, TOKENIZER, changed_weights="note")("good film")
    assert e.misfit is None and e.method.usual_misfit is None


def test_json_and_columns(explainer):
    from datasets import Dataset

    from mhex_nlp import highlight_dataset

    e = explainer("the film was good")
    jsonschema.validate(e.to_dict(), explanation_schema())
    assert Explanation.from_json(e.to_json()) == e and e.to_dict()["misfit"] == e.misfit
    rows = highlight_dataset(Dataset.from_dict({"text": [e.text, ""]}), explainer, errors="record")
    assert rows["mhex_misfit"][:] == [pytest.approx(e.misfit, abs=1e-5), None]
    with pytest.raises(ValueError, match="misfit must be finite"):
        Explanation.from_dict({**e.to_dict(), "misfit": 1e39})


@pytest.mark.parametrize(
    ("changes", "entry"),
    [
        ({"empty": {"lengths": [2, 1], "values": [[0.0], [0.0]]}}, "empty"),
        ({"empty": {"lengths": [1, 2], "values": [[0.0]]}}, "empty"),
        ({"empty": {"lengths": [1], "values": [[float("nan")]]}}, "empty"),
        ({"misfit": [0.1, -1.0]}, "misfit"),
    ],
)
def test_a_record_that_no_fit_wrote_is_refused(changes, entry):
    with pytest.raises(ValueError, match=f"{entry} must be"):
        check_fit({"depths": [0], "widths": [4], **changes}, 2, "config.json")
