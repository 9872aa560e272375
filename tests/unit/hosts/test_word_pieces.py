"""Tokenizers of BERT's kind: pieces that go on ("##ing") write their text, and answers go on as written."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.errors import UnknownNameError
from reasonmech.hosts import Host, load_host
from reasonmech.hosts.characters import character_spans, token_name, token_pieces
from reasonmech.hosts.vocabulary import check_round_trip, decode
from reasonmech.hosts.words import onset_tokens, run_after, token_forms
from tests.layouts import model_of, word_pieces

TEXT = "So I am checking it, waiting"


@pytest.fixture(scope="module", params=[False, True], ids=["blanks before signs", "none before signs"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return word_pieces(cleanup=request.param)


@pytest.fixture(scope="module")
def host(tokenizer: PreTrainedTokenizerFast) -> Host:
    return load_host(model_of(tokenizer), tokenizer=tokenizer, name="pieces")


def names(tokenizer: PreTrainedTokenizerFast, ids: tuple[int, ...] | list[int]) -> list[str]:
    return [str(name) for name in tokenizer.convert_ids_to_tokens(list(ids))]


def middle(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The tokens of TEXT from the first piece that goes on."""
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    return ids[next(i for i, name in enumerate(names(tokenizer, ids)) if name.startswith("##")) :]


def test_a_text_that_begins_in_a_word_has_no_mark_in_it(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = middle(tokenizer)
    assert names(tokenizer, ids)[0].startswith("##")
    text = decode(tokenizer, ids)
    assert "#" not in text and TEXT.replace(" ", "").endswith(text.replace(" ", ""))
    assert "".join(token_pieces(tokenizer, ids)) == text
    spans = character_spans(tokenizer, ids, text)
    assert [text[start:stop].strip() for start, stop in spans] == [
        n.removeprefix("##") for n in names(tokenizer, ids)
    ]
    assert [token_name(tokenizer, token) for token in ids] == [
        n.removeprefix("##") for n in names(tokenizer, ids)
    ]


def test_signs_of_a_text_stay_that_are_no_mark(tokenizer: PreTrainedTokenizerFast) -> None:
    """A word that is not known, and an id of no token, in front of a piece."""
    ids = middle(tokenizer)
    assert decode(tokenizer, [len(tokenizer) + 5, *ids]) == decode(tokenizer, ids)
    unk = tokenizer.convert_tokens_to_ids("[UNK]")
    assert isinstance(unk, int) and decode(tokenizer, [unk, *ids]) == "[UNK]" + decode(tokenizer, ids)
    assert decode(tokenizer, []) == ""


def test_a_vocabulary_of_pieces_mostly_is_not_said_to_lose_text() -> None:
    letters = "abcdefghij"
    pieces = [*letters, *(f"##{a}" for a in letters), *(f"##{a}{b}" for a in letters for b in letters)]
    vocabulary = {name: i for i, name in enumerate(["[UNK]", *pieces])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.decoder = decoders.WordPiece(prefix="##")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]")
    check_round_trip(tokenizer, name="pieces")


@pytest.mark.parametrize(
    ("before", "answer", "written"),
    [
        ("let me check", "ing", "checking"),  # as it goes on: in the word
        ("let me check", " it", "check it"),
        ("let me check", ",", None),
        ("Is it so? Answer:", "yes", None),
        ("Is it so? Answer:", " yes", None),
        ("So", " checking", "So checking"),
    ],
)
def test_answers_are_the_pieces_that_go_on(
    before: str, answer: str, written: str | None, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = tokenizer.encode(before, add_special_tokens=False)
    run = run_after(tokenizer, ids, answer)
    assert [*ids, *run] == tokenizer.encode(before + answer, add_special_tokens=False)
    if written is not None:
        assert decode(tokenizer, [*ids, *run]).endswith(written)


def test_words_are_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    """A piece that goes on is not where a sentence begins, and no word."""
    assert all(not name.startswith("##") for name in names(tokenizer, onset_tokens(tokenizer, "it")))
    for word in ("checking", " checking", "Wait"):
        (form,) = token_forms(tokenizer, word, blank=True)
        assert not names(tokenizer, form)[0].startswith("##")
        assert decode(tokenizer, form) == word.strip()
    with pytest.raises(UnknownNameError):
        token_forms(tokenizer, "ß")


def test_what_is_generated_behind_half_a_word_is_its_text(host: Host) -> None:
    """Rollouts, views and metrics: the text of a continuation, without marks."""
    rollouts = rm.generate(host, ["let me check", "So"], decode=rm.Decode(max_new_tokens=12), progress=False)
    for rollout in rollouts:
        assert rollout.text == decode(host.tokenizer, rollout.ids)
        assert "#" not in rollout.text
    metric = rm.metrics.answer_likelihood(host, ["ing"], distractors=[" it"])
    ids = host.encode("let me check")
    (first, second) = metric.continuations(host, 1)[0]
    assert isinstance(first, str) and isinstance(second, str)
    assert run_after(host.tokenizer, ids, first) != run_after(host.tokenizer, ids, second)
