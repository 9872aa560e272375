"""Answers are the tokens that they have where a text goes on with them, on every tokenizer layout."""

from __future__ import annotations

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts import Host, token_forms
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import pass_rows
from reasonmech.runtime.readout import Readout, questions, read
from tests.layouts import LAYOUTS, REAL_TEXT, layout_host

GOES_ON = (
    ("Is it so? Answer:", " yes"),
    ("Is it so? Answer:", "yes"),
    ("So x", "7"),
    ("So x = 4 + 3 =", " 7.\n"),
    ("Okay. Wait", ", let me check."),
    ("<think>\nOkay", "\n</think>\n\nYes"),
    ("Is it so? Answer: é", "你好 🙂"),
)


def values_of(metric: Readout, host: Host, texts: list[str] | list[list[int]]) -> list[float]:
    of_texts = questions(host, pass_rows(host, texts), metric)
    tails = [
        [forward(host, [row.ids]).logits[0][-question.tail(i) :] for i, row in enumerate(question.rows)]
        for question in of_texts
    ]
    return read(metric, of_texts, tails).tolist()


def truth(host: Host, text: str, answer: str) -> float:
    """log p of what the text goes on with, teacher-forced on the encoding of the whole."""
    ids, whole = host.encode(text), host.encode(text + answer)
    assert whole[: len(ids)] == ids
    with torch.no_grad():
        lines = host.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(lines[at - 1, whole[at]]) for at in range(len(ids), len(whole)))


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize(("text", "answer"), GOES_ON)
def test_the_likelihood_of_an_answer_is_that_of_the_text_that_goes_on_with_it(
    name: str, text: str, answer: str
) -> None:
    host = layout_host(name)
    ids, whole = host.encode(text), host.encode(text + answer)
    metric = rm.metrics.answer_likelihood(host, [answer])
    if whole[: len(ids)] != ids:
        with pytest.raises(DataError, match="is no run of tokens"):
            values_of(metric, host, [text])
        return
    [value] = values_of(metric, host, [text])
    assert value == pytest.approx(truth(host, text, answer), rel=1e-4)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_every_text_and_every_distractor_is_read_behind_its_own_text(name: str) -> None:
    host = layout_host(name)
    texts, right, wrong = ["Is it so? Answer:", "So x"], [" yes", "7"], [[" no"], ["4", " is"]]
    values = values_of(rm.metrics.answer_likelihood(host, right, distractors=wrong), host, texts)
    for value, text, answer, others in zip(values, texts, right, wrong, strict=True):
        against = torch.tensor([truth(host, text, other) for other in others]).logsumexp(0)
        assert value == pytest.approx(truth(host, text, answer) - float(against), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_an_answer_that_merges_with_the_end_of_its_text_is_refused_with_the_tokens(name: str) -> None:
    host = layout_host(name)
    metric = rm.metrics.answer_likelihood(host, ["yes"])
    with pytest.raises(DataError, match=r"' yes'.*\n.*border between tokens.*\n.*move what ends the text"):
        values_of(metric, host, ["Is it so? Answer: "])


@pytest.mark.parametrize("name", REAL_TEXT)
def test_tokens_that_no_encoder_would_write_are_read_as_they_are(name: str) -> None:
    """What a model wrote need not be what the tokenizer would; the answer goes on from its characters."""
    host = layout_host(name)
    ids = [*host.encode("Is it so"), *(i for c in "? " for i in token_forms(host.tokenizer, c)[0])]
    ids += [*token_forms(host.tokenizer, "A")[0], *token_forms(host.tokenizer, ":")[0]]
    [value] = values_of(rm.metrics.answer_likelihood(host, [" yes"]), host, [ids])
    run = token_forms(host.tokenizer, " yes")[0]
    with torch.no_grad():
        lines = host.model(torch.tensor([[*ids, *run]])).logits[0].log_softmax(-1)
    assert value == pytest.approx(
        sum(float(lines[len(ids) - 1 + i, token]) for i, token in enumerate(run)), rel=1e-4
    )


def test_a_word_is_read_without_the_blank_that_encoding_puts_in_front() -> None:
    host = layout_host("llama2")
    names = host.tokenizer.convert_ids_to_tokens
    [[run]] = rm.metrics.answer_likelihood(host, [" yes"]).runs
    assert names(list(run)) == ["▁yes"]
    metric = rm.metrics.logit_diff(host, good=" yes", bad=" Wait")
    assert names([*metric.good, *metric.bad]) == ["▁yes", "▁Wait"]
    metric = rm.metrics.logit_diff(host, good=".", bad="Wait")
    assert names([*metric.good, *metric.bad]) == [".", "Wait"]
    onset = rm.metrics.onset_log_odds(host, [" wait", ". Wait"]).onset
    assert [names(list(run)) for run in onset] == [["▁wait"], [".", "▁Wait"]]


@pytest.mark.parametrize("name", REAL_TEXT)
def test_onsets_are_what_a_text_goes_on_with(name: str) -> None:
    host = layout_host(name)
    text, onset = "Okay. So x is 4.", (" Wait", " But wait")
    [value] = values_of(rm.metrics.onset_log_odds(host, onset), host, [text])
    p = sum(torch.tensor(truth(host, text, word), dtype=torch.float64).exp() for word in onset)
    assert value == pytest.approx(float(torch.logit(p)), abs=1e-3)


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_answer_has_a_bos_in_front(name: str) -> None:
    host = layout_host(name)
    word = "w1" if name == "words" else "7"
    assert host.tokenizer.bos_token_id not in rm.metrics.answer_likelihood(host, [word]).runs[0][0]
    assert host.tokenizer.bos_token_id not in rm.metrics.onset_log_odds(host, [word], single=True).onset[0]


def test_the_end_of_a_text_is_an_answer() -> None:
    host = layout_host("smollm2")
    assert rm.metrics.logit_diff(host, good="<|endoftext|>", bad="<|im_end|>").good == (0,)
