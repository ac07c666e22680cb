# SPDX-License-Identifier: Apache-2.0
"""The closed-form fit: it finds what is there, says when nothing is, and survives saving."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from helpers.families import train_heads
from helpers.tiny import random_texts as texts
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
)
from mhex_nlp.explain.notes import AGAINST, LARGE_MISFIT, OUTWEIGHED
from mhex_nlp.explain.skill import Rows
from mhex_nlp.inputs.removal import random_subsets
from mhex_nlp.models.eval_mode import eval_view
from mhex_nlp.models.heads.readout import FeatureLayout, FittedReadout
from mhex_nlp.training.fitting.equations import EquationSource

TOKENIZER = tiny_tokenizer()


def small_model(gate: bool = False):
    plain = tiny_bert(num_labels=2, dropout=0.0).eval()
    return get_mhex_model(plain, MhexConfig(gate=gate))


def test_equations_are_exact_for_games_of_pairs():
    """Shapley values of a game with pairwise interactions solve every equation, which single subsets do not allow."""
    draw = torch.Generator().manual_seed(0)
    n, alone = 6, torch.randn(6, generator=draw)
    pairs = torch.randn(n, n, generator=draw).triu(1)
    kept = random_subsets(n, 8, [0]).float()
    values = kept @ alone + torch.einsum("si,ij,sj->s", kept, pairs, kept)
    shapley = alone + (pairs.sum(0) + pairs.sum(1)) / 2
    rows = Rows(kept, values[:, None], kept.sum(1), 0)  # each token's feature is the token itself
    x, y = rows.equations()
    assert x.shape == (5, n)
    torch.testing.assert_close(x @ shapley, y[:, 0])
    assert (rows.sums[:-1] @ shapley - values[:-1]).abs().max() > 0.1


def test_rows_are_sums_of_features_of_the_tokens_that_stay():
    """In batches of texts of other lengths as of each text alone, of one token as of many."""
    source = EquationSource(eval_view(small_model()), TOKENIZER, "mask", 4, 64)
    several = ["film", *texts(5), "good film"]
    with torch.inference_mode():
        source.layout = source.find_layout(several[0], None).thinned(190)
        for number, rows in enumerate(source.rows(several, None, range(7), 3)):
            (item,) = source.perturbed.tokenise([several[number]], None)
            output = source._forward([item])
            features = source.layout.join(output.states, output.attention_flow)[0, item.content_positions(False)]
            kept = random_subsets(len(features), 4, [3, number])
            assert rows.sums.shape == ((5 if len(features) > 1 else 1), source.layout.features)
            torch.testing.assert_close(rows.sums, kept.float() @ features, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(rows.values[-1], source.contrasted(output.logits[0]) - empty_of(source, item))


def test_nothing_at_padding_reaches_the_rows(monkeypatch):
    """A model may say anything there, NaN as well: the rows of a text are the same in a batch with longer ones."""
    source = EquationSource(small_model(), TOKENIZER, "mask", 4, 1024)
    chosen = ["a fine film", "a long and slow film that never ends"]
    source.layout = source.find_layout(chosen[0], None)
    alone = [next(source.rows([text], None, [number], 0)).sums for number, text in enumerate(chosen)]
    forward = source._forward

    def spoilt(items):
        output = forward(items)
        for row, item in enumerate(items):
            for part in (*output.states, *output.attention_flow):
                part[row, len(item) :] = torch.nan
        return output

    monkeypatch.setattr(source, "_forward", spoilt)
    for sums, rows in zip(alone, source.rows(chosen, None, [0, 1], 0), strict=True):
        torch.testing.assert_close(rows.sums, sums)


def empty_of(source, item):
    (logits,) = source.perturbed.kept_logits([item], [torch.zeros(1, len(item.content_positions(False))).bool()])
    return source.contrasted(logits[0])


def test_readout_is_linear_in_the_states():
    torch.manual_seed(0)
    layout = FeatureLayout((0, 2), (3, 5), (0, 4))
    readout = FittedReadout(layout, 2)
    weights = torch.randn(layout.features, 2)
    readout.fill(weights)
    states = [torch.randn(1, 4, 3), torch.randn(1, 4, 9), torch.randn(1, 4, 5)]
    flows = [torch.randn(1, 4, 7), torch.randn(1, 4, 4)]  # of layers 0 and 1: the second belongs to depth 2
    features = torch.cat([torch.ones(1, 4, 1), states[0], states[2], flows[1]], dim=-1)
    torch.testing.assert_close(layout.join(states, flows), features)
    torch.testing.assert_close(readout(states, flows).sum(2), features @ weights)


def test_subsets_come_in_complementary_pairs():
    kept = random_subsets(7, 8, [0])
    assert kept.shape == (9, 7) and kept[-1].all()
    assert (kept[:4] ^ kept[4:8]).all()
    assert ((kept[:8].sum(1) >= 1) & (kept[:8].sum(1) <= 6)).all()
    assert random_subsets(1, 8, [0]).tolist() == [[True]]


def test_thinning_keeps_the_ends():
    whole = FeatureLayout(tuple(range(8)), (10,) * 8, (0,) * 8)
    assert whole.thinned(81) == whole
    thinned = whole.thinned(45)
    assert len(thinned.depths) == 4 and thinned.depths[0] == 0 and thinned.depths[-1] == 7
    with pytest.raises(ValueError, match="max_features must be at least 21"):
        whole.thinned(20)


def test_a_fit_finds_more_than_the_even_spread():
    model = small_model()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(400), masks=8)
    assert report.skill > 0.5 and report.skill_interval[0] < report.skill < report.skill_interval[1]
    assert report.trusted and report.r2 > report.skill - 0.2
    first, second, third = str(report).splitlines()
    assert first.startswith(f"skill: one pass explains {report.skill:.2f} [{report.skill_interval[0]:.2f}, ")
    assert f"words: {report.attainable:.2f} [" in second and f"; {report.share_of_attainable:.2f} of it" in second
    assert third == f"absolute skill {report.absolute_skill:.2f}, R\u00b2 {report.r2:.2f}: of single answers"
    assert report.held_out == report.chosen_on == 40 and report.texts == 320
    assert sum(report.depth_share) == pytest.approx(1) and report.removal == "mask"


def test_a_model_that_ignores_its_text_has_no_skill():
    model = small_model()
    with torch.no_grad():
        model.classifier.weight.zero_()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(60))
    assert report.skill == 0 and not report.trusted and "do not trust single words" in str(report)


def test_no_prediction_and_no_weight_changes():
    model = train_heads(small_model(gate=True)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_equivalent_matrices(model, TOKENIZER, texts(40))
    assert model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_reruns_are_identical_and_seeds_matter():
    reports, matrices = [], []
    for seed in (0, 0, 1):
        model = small_model()
        reports.append(fit_equivalent_matrices(model, TOKENIZER, texts(50), seed=seed))
        matrices.append(model.mhex_fit.depth_1.clone())
    assert torch.equal(matrices[0], matrices[1]) and not torch.equal(matrices[0], matrices[2])
    assert reports[0].skill == reports[1].skill != reports[2].skill


def test_saved_and_loaded(tmp_path):
    model = train_heads(small_model())
    fit_equivalent_matrices(model, TOKENIZER, texts(50))
    model.save_pretrained(tmp_path)
    loaded = AutoMhexModelForSequenceClassification.from_pretrained(tmp_path).eval()
    inputs = TOKENIZER(texts(3), padding=True, return_tensors="pt")
    with torch.no_grad():
        one, other = (m.eval()(**inputs, output_attributions=True) for m in (model, loaded))
    assert torch.equal(one.fitted_attributions, other.fitted_attributions)
    assert torch.equal(one.layer_attributions, other.layer_attributions)
    assert loaded.config.mhex_fit["skill"] == model.config.mhex_fit["skill"]
    assert not hasattr(loaded.without_heads(), "mhex_fit")


def test_training_drops_the_fit(tmp_path):
    """The matrices explain the model as it was."""
    from helpers.tiny import tiny_trainer
    from mhex_nlp import MhexCallback

    model = train_heads(small_model(gate=True))
    fit_equivalent_matrices(model, TOKENIZER, texts(40))
    trainer = tiny_trainer(model, tmp_path, callbacks=[MhexCallback()])
    trainer.train()
    assert not hasattr(model, "mhex_fit") and model.config.mhex_fit is None
    assert MhexExplainer(model, TOKENIZER).aggregation == "mean"


def test_a_strength_at_the_end_of_the_path_widens_it(monkeypatch):
    """The best strength of a made-up path lies beyond both ends of what is tried first."""
    from types import SimpleNamespace

    from mhex_nlp.training.fitting import solving

    stream = SimpleNamespace(solve=lambda strength: strength)
    for best in (1e-9, 1e4):
        monkeypatch.setattr(solving.skill, "skill", lambda weights, rows, best=best: -abs(np.log10(weights / best)))
        assert solving.best_solution(stream, []).strength == pytest.approx(best)
    monkeypatch.setattr(solving.skill, "skill", lambda weights, rows: -weights)
    assert solving.best_solution(stream, []).strength == pytest.approx(1e-12 / 3), "and ends"


def test_few_texts_to_judge_on_are_warned_of():
    with pytest.warns(UserWarning, match="judged on 6 texts alone"):
        fit_equivalent_matrices(small_model(), TOKENIZER, texts(60))


def test_pairs():
    model = small_model()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(60), text_pairs=texts(60, seed=1))
    assert (report.texts, report.chosen_on, report.held_out) == (48, 6, 6)


def test_regression_is_not_centred():
    model = get_mhex_model(tiny_bert(num_labels=1, problem_type="regression"), MhexConfig(gate=False))
    assert fit_equivalent_matrices(model, TOKENIZER, texts(60)).contrast == "none"


def test_removal_by_attention_without_a_mask_token():
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.warns(UserWarning, match="removal='attention'"):
        report = fit_equivalent_matrices(small_model(), tokenizer, texts(40))
    assert report.removal == "attention"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"texts": texts(5)}, ValueError, "texts must be at least 20 to fit, got 5"),
        ({"texts": [" "] * 30}, ValueError, r"texts\[0\] must hold at least one character"),
        (
            {"texts": ["good film"] * 30},
            ValueError,
            "texts must be at least 20 that differ, got 30 that are",
        ),
        ({"texts": [chr(97 + i) for i in range(26)]}, ValueError, "texts must have more than one token to judge a fit"),
        ({"masks": 1}, ValueError, "masks must be an integer of at least 2"),
        ({"held_out": 1.0}, ValueError, "held_out must be between 0 and 1"),
        ({"max_features": 10}, ValueError, "max_features must be at least 65"),
        ({"removal": "delete"}, ValueError, "removal must be one of"),
        ({"removal": "deletion"}, ValueError, "got 'deletion', which moves tokens"),
        ({"model": tiny_bert()}, ValueError, "get_mhex_model"),
        ({"text_pairs": ["good"]}, ValueError, "one entry for each of the 30 texts"),
    ],
)
def test_bad_input(options, error, message):
    given = {"model": small_model(), "tokenizer": TOKENIZER, "texts": texts(30), **options}
    with pytest.raises(error, match=message):
        fit_equivalent_matrices(**given)


def test_explanations_of_a_fitted_model():
    """base_value + sum is the model's own centred logit; template tokens have no score; depths add up."""
    model = small_model()
    explainer = MhexExplainer(train_heads(model), TOKENIZER)
    assert explainer.aggregation == "mean"
    report = fit_equivalent_matrices(model, TOKENIZER, texts(200))
    assert explainer.aggregation == "fitted"
    for e in explainer(texts(6, seed=5), layers=True, classes="all"):
        with torch.no_grad():
            logits = model.eval()(**TOKENIZER(e.text, return_tensors="pt")).logits[0]
        expected = (logits[e.target.id] - logits.mean()).item()
        assert e.base_value + e.sum == pytest.approx(expected, abs=1e-4)
        assert all(token.score == 0 for token in e.tokens if token.special)
        np.testing.assert_allclose(e.layer_scores.sum(1), e.scores, atol=1e-5)
        np.testing.assert_allclose(e.class_scores[:, e.target.id], e.scores, atol=1e-5)
        assert (e.method.explains, e.method.fitted, e.method.removal) == ("model", True, "mask")
        assert (
            e.method.skill == report.skill and e.method.r2 == report.r2 and set(e.note_codes) <= {AGAINST, OUTWEIGHED}
        )
        assert (e.method.absolute_skill, e.method.attainable) == (report.absolute_skill, report.attainable)
    foil, plain = explainer("good film", target=0, foil=1), explainer("good film", target=0)
    assert foil.base_value + foil.sum == pytest.approx(2 * (plain.base_value + plain.sum), abs=1e-4)  # two classes
    assert MhexExplainer(model, TOKENIZER, aggregation="mean")("good film").method.explains == "heads"
    with pytest.raises(ValueError, match="contrast='none' cannot be had of fitted matrices"):
        MhexExplainer(model, TOKENIZER, contrast="none")


def test_texts_of_another_kind_than_the_fits_are_noted():
    model = small_model()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(40))
    explainer = MhexExplainer(model, TOKENIZER)
    longest = max(len(TOKENIZER(text)["input_ids"]) - 2 for text in texts(40))

    def notes_of_kind(*text):
        """Without those about the sum, the base value and the misfit, which a random model's texts may carry."""
        e, others = explainer(*text), (AGAINST, OUTWEIGHED, LARGE_MISFIT)
        return tuple(note for note, code in zip(e.notes, e.note_codes, strict=True) if code not in others)

    assert report.pairs is False and longest / 2 < report.longest <= longest
    assert not notes_of_kind("good film")
    assert notes_of_kind("good film", "bad film") == ("The fit was made on single texts, and this is a pair.",)
    (note,) = notes_of_kind(" ".join(["film"] * 40))
    assert note == f"The fit was made on texts of at most {report.longest} tokens, and this has 40."
    assert report.scripts == ("Latin",)
    assert notes_of_kind("фильм был good") == (
        "The fit was made on texts in Latin letters, and this is mostly in Cyrillic.",
    )
    assert fit_equivalent_matrices(model, TOKENIZER, texts(40), texts(40, seed=1)).pairs
    assert "The fit was made on pairs of texts, and this is a single text." in notes_of_kind("good film")


def test_one_forward_pass_explains():
    model = small_model()
    fit_equivalent_matrices(model, TOKENIZER, texts(40))
    passes = []
    model.bert.register_forward_pre_hook(lambda *_: passes.append(1))
    MhexExplainer(model, TOKENIZER)("the film was good", layers=True, classes="all")
    assert len(passes) == 1


def test_writes_are_read_and_say_when_they_cannot_be(monkeypatch):
    model = small_model()
    report = fit_equivalent_matrices(model, TOKENIZER, texts(40))
    assert report.widths == (32,) * 4 and report.flow_widths == (0, 32, 32, 0)
    monkeypatch.setattr(
        "mhex_nlp.models.attention_hook._attend", lambda log, mask, attend, *args, **kwargs: attend(*args, **kwargs)
    )
    with pytest.raises(RuntimeError, match=r"set_attn_implementation\('sdpa'\)"):
        MhexExplainer(model, TOKENIZER)("good film")


def test_a_fit_of_states_alone_from_an_earlier_version_still_loads():
    """Records without `flow_widths` read no writes."""
    fit = {"depths": [0, 3], "widths": [32, 32]}
    assert (
        FeatureLayout.of(fit) == FeatureLayout((0, 3), (32, 32), (0, 0))
        and not FittedReadout(FeatureLayout.of(fit), 2).reads_flow
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_fitted_model_compiles(implementation):
    model = small_model()
    model.set_attn_implementation(implementation)
    fit_equivalent_matrices(model, TOKENIZER, texts(40))
    inputs = TOKENIZER(texts(3), padding=True, return_tensors="pt")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        one, other = (each(**inputs, output_attributions=True) for each in (model, compiled))
    torch.testing.assert_close(one.fitted_attributions, other.fitted_attributions)
    assert torch.equal(one.logits, other.logits)


def test_threads_do_not_mix_up_their_writes():
    model = small_model()
    fit_equivalent_matrices(model, TOKENIZER, texts(60))
    explainer, several = MhexExplainer(model, TOKENIZER), texts(24, seed=4)
    model.eval()
    alone = [explainer(text).scores for text in several]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone, pool.map(lambda text: explainer(text).scores, several), strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_untrusted_fit_says_so_on_the_explanation():
    model = small_model()
    with torch.no_grad():
        model.classifier.weight.zero_()
    fit_equivalent_matrices(model, TOKENIZER, texts(60))
    (note,) = MhexExplainer(model, TOKENIZER)("good film").notes
    assert note.startswith("Do not trust single words")


def test_padding_changes_no_fitted_score():
    model = small_model()
    fit_equivalent_matrices(model, TOKENIZER, texts(100))
    explainer = MhexExplainer(model, TOKENIZER)
    several = texts(8, seed=3)
    for e, text in zip(explainer(several), several, strict=True):
        np.testing.assert_allclose(e.scores, explainer(text).scores, atol=1e-5 * max(1, np.abs(e.scores).max()))


def test_a_fit_is_the_same_while_others_switch_the_mode():
    model, reports = get_mhex_model(tiny_bert(dropout=0.5).eval()), []
    for switched in (False, True):
        if switched:
            model.bert.embeddings.register_forward_pre_hook(lambda module, args: model.train() and None)
        report = fit_equivalent_matrices(model, TOKENIZER, texts(24), masks=2, held_out=0.3, progress=False)
        reports.append({**report.to_dict(), "seconds": None})
        reports[-1]["matrix"] = model.mhex_fit.depth_1.tolist()
    assert reports[0] == reports[1] and model.training
