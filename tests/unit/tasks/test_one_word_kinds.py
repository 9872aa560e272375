"""Kinds that are read off a sentence's first token, on every tokenizer layout."""

from __future__ import annotations

import pytest
import torch
from tokenizers import processors

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.experiments.stages.moments import onset_ids
from reasonmech.hosts import Host
from reasonmech.step import Step
from reasonmech.tasks.chain import Chain, OneWordKinds, word_tokenizer
from tests.layouts import REAL_TEXT, layout

WORDS = {"backtrack": "Wait", "check": "Now", "step": "So"}


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("between", [" ", "\n", "\n\n", ""])
def test_a_sentence_is_of_the_kind_of_its_first_word_with_a_blank_or_without(name: str, between: str) -> None:
    tokenizer = layout(name)
    kinds = OneWordKinds({"backtrack": "Wait"}, tokenizer)
    text = between.join(("Okay, it is 7.", "Wait, it is.", "Yes, Wait is it.", "Wait."))
    ids = tokenizer.encode(text, add_special_tokens=False)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    backtrack = kinds.names.index("backtrack")
    labels = kinds.label(torch.tensor(ids)).tolist()
    ends = [i + 1 for i, character in enumerate(text) if character == "."]
    for label, (start, stop), token in zip(labels, offsets, ids, strict=True):
        visible = start + len(text[start:stop]) - len(text[start:stop].lstrip())
        first = max([0, *(end for end in ends if end <= visible)])
        of_word = text[first:].lstrip().startswith("Wait")
        if text[start:stop].strip():
            assert (label == backtrack) == of_word, (text, tokenizer.decode([token]), start)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_every_token_that_writes_the_word_is_of_its_kind(name: str) -> None:
    tokenizer = layout(name)
    kinds = OneWordKinds({"backtrack": "Wait"}, tokenizer)
    ids = (kinds.of_token == 0).nonzero().flatten().tolist()
    assert len(ids) == 2
    assert {tokenizer.decode([i]).strip() for i in ids} == {"Wait"}


@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_word_of_several_tokens_and_two_kinds_of_one_word_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="no single token for 'backtracking:'"):
        OneWordKinds({"backtrack": "backtracking:"}, layout(name))
    with pytest.raises(DataError, match="two kinds begin with one word"):
        OneWordKinds({"backtrack": "Wait", "check": "Wait"}, layout(name))


def test_a_bos_in_front_of_every_text_is_no_onset_and_no_word() -> None:
    plain, with_bos = word_tokenizer(), word_tokenizer()
    with_bos.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<eos> $A", pair="<eos> $A <eos> $B", special_tokens=[("<eos>", plain.eos_token_id)]
    )
    assert with_bos.encode("next")[0] == plain.eos_token_id != plain.encode("next")[0]
    words = Chain().world.onset_words
    kinds = OneWordKinds(words, with_bos)
    assert torch.equal(kinds.of_token, OneWordKinds(words, plain).of_token)
    assert kinds.full_stops.tolist() == [plain.convert_tokens_to_ids(".")]
    base = rm.load_pair("tiny-when").base
    host = Host(base.model, with_bos, name="with a BOS")
    for kind, word in words.items():
        assert onset_ids(host, "chain", kind) == onset_ids(base, "chain", kind)
        assert rm.hosts.token_forms(with_bos, word) == ((plain.convert_tokens_to_ids(word),),)
        assert rm.metrics.onset_log_odds(host, [word], single=True).onset == ((plain.encode(word)[0],),)
        where = rm.tokens(word).resolve(with_bos)
        ids = torch.tensor([with_bos.encode(f"{word} one . {word}")])
        assert where.mask(Step.of(ids))[0].tolist() == [False, True, False, False, True]
