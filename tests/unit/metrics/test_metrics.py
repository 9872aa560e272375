"""Every metric on what comes next equals its definition on plain Hugging Face logits, and never reads
nothing."""

from __future__ import annotations

import itertools

import pytest
import torch

from reasonmech.errors import DataError, NonFiniteError, UnknownNameError
from reasonmech.metrics import (
    LogitDiff,
    NextTokenKL,
    answer_likelihood,
    logit_diff,
    metrics,
    next_token_kl,
    onset_log_odds,
)
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import pass_rows
from reasonmech.runtime.readout import Readout, questions, read
from reasonmech.testing import tiny_host

HOST = tiny_host()
SOFT = tiny_host(seed=1)  # its head brought down, so that no probability is 0 or 1
with torch.no_grad():
    SOFT.unembedding().mul_(0.02)
TEXTS = ["w1 w2 . w3", "w5 w9", "w9 w1 . w4 w2 w40 w3"]
CLOSE = {"atol": 1e-4, "rtol": 1e-5}  # logits of a head scaled by 30: 1e-5 of their range


def values_of(metric: Readout, host=HOST, texts=TEXTS) -> torch.Tensor:
    """The metric through the engine's own reader, every row run alone."""
    of_texts = questions(host, pass_rows(host, texts), metric)
    tails = [
        [forward(host, [row.ids]).logits[0][-question.tail(i) :] for i, row in enumerate(question.rows)]
        for question in of_texts
    ]
    return read(metric, of_texts, tails)


def following(host, text: str, words: list[str]) -> float:
    """log p(words | text), one plain Hugging Face pass over all of it."""
    ids, more = host.encode(text), host.encode(" ".join(words))
    with torch.no_grad():
        lines = host.model(torch.tensor([ids + more])).logits[0].log_softmax(-1)
    return sum(float(lines[len(ids) - 1 + i, token]) for i, token in enumerate(more))


def next_logits(host, text: str) -> torch.Tensor:
    with torch.no_grad():
        return host.model(torch.tensor([host.encode(text)])).logits[0, -1]


def test_logit_diff_is_the_difference_of_two_logits_the_same_pair_for_all_or_one_per_text() -> None:
    one = values_of(logit_diff(HOST, good="w7", bad="w8"))
    each = values_of(logit_diff(HOST, good=["w7", "w1", "w2"], bad="w8"))
    for row, (text, good) in enumerate(zip(TEXTS, ("w7", "w1", "w2"), strict=True)):
        logits = next_logits(HOST, text)
        (a,), (b,), (c,) = (HOST.encode(word) for word in ("w7", "w8", good))
        assert torch.allclose(one[row], logits[a] - logits[b], **CLOSE)
        assert torch.allclose(each[row], logits[c] - logits[b], **CLOSE)
    assert not torch.allclose(one[1:], each[1:])


@pytest.mark.parametrize(
    "onset",
    [["w7", "w8"], ["w7", "w8 w9"], ["w7 w1", "w7 w2 w3", "w4", "w5"]],
    ids=["tokens", "mixed", "shared start"],
)
def test_onset_log_odds_are_those_of_the_summed_probability(onset: list[str]) -> None:
    values = values_of(onset_log_odds(SOFT, onset), SOFT)
    for row, text in enumerate(TEXTS):
        p = sum(torch.tensor(following(SOFT, text, c.split()), dtype=torch.float64).exp() for c in onset)
        assert 1e-4 < float(p) < 0.9
        assert float(values[row]) == pytest.approx(float(torch.logit(p)), abs=1e-4)


def test_onset_log_odds_against_a_set_compare_two_sums() -> None:
    values = values_of(onset_log_odds(SOFT, ["w7", "w8 w9"], against=["w1 w2", "w3"]), SOFT)
    for row, text in enumerate(TEXTS):
        sums = [
            torch.tensor([following(SOFT, text, words) for words in continuations]).logsumexp(0)
            for continuations in ([["w7"], ["w8", "w9"]], [["w1", "w2"], ["w3"]])
        ]
        assert float(values[row]) == pytest.approx(float(sums[0] - sums[1]), abs=1e-4)


def test_onset_log_odds_of_a_certain_model_are_finite_and_so_is_their_gradient() -> None:
    """A model that is sure: 1 - P(onset) rounds to 0 in float32, the log-odds do not."""
    for text, extra in itertools.product(TEXTS, (["w1"], ["w1 w2"])):
        logits = next_logits(HOST, text).double()
        likely = int(logits.argmax())
        metric = onset_log_odds(HOST, [(likely,), *extra])
        of_texts = questions(HOST, pass_rows(HOST, [text]), metric)
        tails = [
            [
                forward(HOST, [row.ids]).logits[0][-q.tail(i) :].requires_grad_()
                for i, row in enumerate(q.rows)
            ]
            for q in of_texts
        ]
        value = read(metric, of_texts, tails)
        gradients = torch.autograd.grad(value.sum(), tails[0])
        assert bool(torch.isfinite(value).all())
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        if extra == ["w1"]:
            keep = torch.ones(64, dtype=torch.bool)
            keep[[likely, *HOST.encode("w1")]] = False
            expected = logits[~keep].logsumexp(0) - logits[keep].logsumexp(0)
            assert float(value.detach()) == pytest.approx(float(expected), rel=1e-5, abs=1e-4)


def test_answer_likelihood_subtracts_the_distractors_of_each_text() -> None:
    references = ["w7 w8", "w1", "w2 w3 w4"]
    wrong = [["w7 w9", "w6"], ["w3"], ["w5 w6", "w7", "w2 w9 w9"]]
    plain = values_of(answer_likelihood(SOFT, references), SOFT)
    summed = values_of(answer_likelihood(SOFT, references, distractors=wrong), SOFT)
    mean = values_of(answer_likelihood(SOFT, references, distractors=wrong, against="mean"), SOFT)
    for row, text in enumerate(TEXTS):
        reference = following(SOFT, text, references[row].split())
        others = torch.tensor([following(SOFT, text, words.split()) for words in wrong[row]])
        assert float(plain[row]) == pytest.approx(reference, abs=1e-4)
        assert float(summed[row]) == pytest.approx(reference - float(others.logsumexp(0)), abs=1e-4)
        assert float(mean[row]) == pytest.approx(reference - float(others.mean()), abs=1e-4)
    assert not torch.allclose(summed, mean, atol=1e-2)


def test_next_token_kl_compares_with_a_clean_run_and_is_stationary_there() -> None:
    metric = next_token_kl(HOST, TEXTS)
    assert torch.allclose(values_of(metric), torch.zeros(3), atol=1e-6)
    others = ["w1 w2 . w4", "w5 w1", "w9 w1 . w4 w2 w40 w1"]
    values = values_of(metric, texts=others)
    for row, (text, other) in enumerate(zip(TEXTS, others, strict=True)):
        p, q = next_logits(HOST, text).log_softmax(-1), next_logits(HOST, other).log_softmax(-1)
        assert float(values[row]) > 0.1
        assert torch.allclose(values[row], (p.exp() * (p - q)).sum(), rtol=1e-4)


def test_a_metric_finds_its_own_entry_by_the_number_of_the_text() -> None:
    metric = answer_likelihood(
        HOST, ["w7", "w1", "w2"], distractors=[["w3"], ["w4", "w5"], ["w6"]], against="mean"
    )
    texts = pass_rows(HOST, TEXTS)
    of_texts = questions(HOST, texts, metric)
    tails = [[forward(HOST, [text.ids]).logits[0][-1:]] for text in texts]
    of_all = read(metric, of_texts, tails)
    assert torch.equal(read(metric, of_texts[1:2], tails[1:2]), of_all[1:2])
    assert len(of_all.unique()) == 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: logit_diff(HOST, good="w1 w2", bad="w3"), "2 tokens"),
        (lambda: logit_diff(HOST, good="nonsense", bad="w3"), "does not know"),
        (lambda: logit_diff(HOST, good="", bad="w3"), "nothing to read"),
        (lambda: logit_diff(HOST, good=64, bad="w3"), "below 64"),
        (lambda: logit_diff(HOST, good=["w1", "w2"], bad=["w3"]), "as many good tokens"),
        (lambda: logit_diff(HOST, good="w1", bad="w1"), "itself"),
        (lambda: LogitDiff((), ()), "read nothing"),
        (lambda: onset_log_odds(HOST, []), "read nothing"),
        (lambda: onset_log_odds(HOST, ["w1"]), "single=True"),
        (lambda: onset_log_odds(HOST, "w1 w2"), "one text"),
        (lambda: onset_log_odds(HOST, ["w1", "w1 w2"]), "count twice"),
        (lambda: onset_log_odds(HOST, ["w1", "w2"], against=["w1"]), "count twice"),
        (lambda: answer_likelihood(HOST, []), "read nothing"),
        (lambda: answer_likelihood(HOST, ["w1", ""]), "nothing to read"),
        (lambda: answer_likelihood(HOST, ["w1"], distractors=[["w1"]]), "twice"),
        (lambda: answer_likelihood(HOST, ["w1", "w2"], distractors=[["w1"]]), "for 1 texts"),
        (lambda: answer_likelihood(HOST, ["w1", "w2"], distractors=[["w3"], []]), "none for others"),
        (lambda: next_token_kl(HOST, []), "read nothing"),
        (lambda: NextTokenKL(torch.zeros(0, 64)), "read nothing"),
    ],
)
def test_a_metric_that_reads_nothing_is_refused_when_it_is_made(make, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make()


def test_a_single_onset_can_be_insisted_on_and_unknown_choices_list_the_known() -> None:
    metric = onset_log_odds(SOFT, ["w7"], single=True)
    expected = [torch.logit(next_logits(SOFT, text).softmax(-1)[HOST.encode("w7")[0]]) for text in TEXTS]
    assert torch.allclose(values_of(metric, SOFT), torch.stack(expected), atol=1e-4)
    with pytest.raises(DataError, match="is one text"):
        answer_likelihood(HOST, "w1 w2")
    with pytest.raises(UnknownNameError, match="logsumexp, mean"):
        answer_likelihood(HOST, ["w1"], distractors=[["w2"]], against="median")  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError):
        NextTokenKL(torch.full((1, 64), torch.nan))


def test_a_metric_made_for_other_texts_is_refused_by_the_run() -> None:
    texts = pass_rows(HOST, TEXTS)
    for metric in (
        logit_diff(HOST, good=["w1", "w2"], bad="w3"),
        answer_likelihood(HOST, ["w1", "w2"]),
        next_token_kl(HOST, TEXTS[:2]),
    ):
        with pytest.raises(DataError, match="2 entries, the run has 3 texts"):
            questions(HOST, texts, metric)
    with pytest.raises(DataError, match="over 32 tokens"):
        questions(HOST, texts, NextTokenKL(torch.zeros(3, 32)))


def test_the_registry_lists_them() -> None:
    assert {
        "logit_diff",
        "onset_log_odds",
        "answer_likelihood",
        "next_token_kl",
        "behaviour_rate",
        "accuracy",
    } <= set(metrics.kinds())
    assert metrics.get("logit_diff") is logit_diff
