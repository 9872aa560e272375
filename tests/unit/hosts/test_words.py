"""What a word is inside a text, and the bytes that every token writes, on every layout."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts import Host
from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.vocabulary import encode
from reasonmech.hosts.words import is_writable, onset_tokens, run_after, token_forms
from reasonmech.step import Step
from reasonmech.tasks import tasks
from tests.layouts import BLIND_TO_A_BLANK, CORPUS, LAYOUTS, REAL_TEXT, layout, layout_model, unigram
from tests.outside_pair import write_outside_pair

TEXTS = (
    "Okay. Wait, let me check. (wait) Yes.\nWait.",
    "<think>\nOkay, 3 + 4 = 7.\n</think>\n\nThe answer is 7.\n",
    "Is it so? Answer: yes",
    "naïve 你好 🙂👍🏽 é, 等等。x",
    "  two blanks  and\ttabs \n\n\n  ",
)


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("special", [False, True])
def test_a_text_is_spelt_as_it_was_encoded(name: str, special: bool) -> None:
    tokenizer = layout(name)
    spelling = spelling_of(tokenizer)
    for text in TEXTS:
        if name in BLIND_TO_A_BLANK and text[:1] == " ":
            continue  # encoded as it is with a blank less
        ids = tokenizer.encode(text, add_special_tokens=special)
        bos = tokenizer.bos_token if special and ids[0] == tokenizer.bos_token_id else ""
        assert spelling.text(ids) == bos + text
        borders = spelling.borders(ids)
        assert len(borders) == len(ids) + 1 and borders[-1] == len((bos + text).encode())


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_spelt_never_changes_when_the_text_grows(name: str, data: st.DataObject) -> None:
    spelling = spelling_of(layout(name))
    ids = data.draw(st.lists(st.integers(0, len(layout(name)) - 1), max_size=12))
    whole = spelling.spell(ids)
    for n in range(len(ids)):
        assert spelling.spell(ids[:n]) == whole[:n]


@pytest.mark.parametrize("name", ["qwen2", "smollm2"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_bytes_are_those_that_the_tokenizer_decodes(name: str, data: st.DataObject) -> None:
    tokenizer = layout(name)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=8))
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert spelling_of(tokenizer).text(ids) == text


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize(
    "word", [".", ",", "\n", "Wait", "wait", " wait", " yes", "yes", "7", "\nyes", "🙂", "é"]
)
def test_the_forms_of_a_word_are_those_that_it_has_within_texts(name: str, word: str) -> None:
    tokenizer = layout(name)
    forms = token_forms(tokenizer, word)
    for form in forms:
        assert (
            spelling_of(tokenizer).text([*tokenizer.encode("a", add_special_tokens=False), *form])
            == "a" + word
        )
    left = "Yes: wait:" if word[0].isalpha() else "Yes: wait"
    whole = tuple(tokenizer.encode(left + word, add_special_tokens=False))
    assert any(whole[-len(form) :] == form for form in forms)
    assert not {tokenizer.bos_token_id} & set(sum(forms, ()))


def test_a_word_has_neither_bos_nor_the_blank_that_encoding_puts_in_front() -> None:
    llama = layout("llama2")
    assert llama.convert_ids_to_tokens(llama.encode(".")) == ["<s>", "▁", "."]
    assert [llama.convert_ids_to_tokens(list(form)) for form in token_forms(llama, ".")] == [["."]]
    forms = token_forms(llama, "Wait", blank=True)
    assert [llama.convert_ids_to_tokens(list(form)) for form in forms] == [["Wait"], ["▁Wait"]]
    assert onset_tokens(llama, "Wait") == tuple(form[0] for form in forms)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words", "<eos>"),
        ("words", "<unk>"),
        ("llama2", "</s>"),
        ("llama2", "<unk>"),
        ("qwen2", "<|im_end|>"),
    ],
)
def test_the_text_of_a_special_token_is_that_token(name: str, text: str) -> None:
    tokenizer = layout(name)
    assert token_forms(tokenizer, text) == ((tokenizer.convert_tokens_to_ids(text),),)


def test_an_unk_that_is_a_word_is_that_word() -> None:
    tokenizer = layout("smollm2")
    assert tokenizer.unk_token == "<|endoftext|>"
    assert token_forms(tokenizer, "<|endoftext|>") == ((0,),)


@pytest.mark.parametrize("word", ["w1", " w1"])
def test_blanks_that_join_words_are_no_part_of_them(word: str) -> None:
    assert token_forms(layout("words"), word) == ((layout("words").convert_tokens_to_ids("w1"),),)


@pytest.mark.parametrize("word", ["banana", "w1 banana", "w1w2"])
def test_a_word_that_cannot_be_written_is_refused_with_what_is_written_instead(word: str) -> None:
    with pytest.raises(UnknownNameError, match="<unk>"):
        token_forms(layout("words"), word)


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Is it so? Answer:", " yes"),
        ("Is it so? Answer:", "yes"),
        ("So x", "7"),
        ("So x = ", "7"),
        ("<think>\nOkay.", "\n</think>\n\nYes"),
        ("naïve 你", "好 🙂"),
    ],
)
def test_what_goes_on_from_a_text_has_the_tokens_of_the_whole(name: str, left: str, right: str) -> None:
    tokenizer = layout(name)
    before, whole = tokenizer.encode(left), tokenizer.encode(left + right)
    if whole[: len(before)] != before:
        with pytest.raises(DataError, match="one token holds the end of the one and the beginning"):
            run_after(tokenizer, before, right)
        return
    assert run_after(tokenizer, before, right) == tuple(whole[len(before) :])


def test_what_goes_on_from_words_is_joined_by_a_blank() -> None:
    tokenizer = layout("words")
    for right in ("w3 .", " w3 ."):
        assert run_after(tokenizer, tokenizer.encode("w1 w2"), right) == tuple(tokenizer.encode("w3 ."))


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_a_blank_behind_a_special_token_is_the_texts_own_where_encoding_puts_none_there(scheme: str) -> None:
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    raw.decoder = decoders.Metaspace(prepend_scheme=scheme)
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    raw.train_from_iterator(CORPUS, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    spelling = spelling_of(tokenizer)
    for text in ("Wait. It is so.", "So it is.</s> Wait. It is."):
        spelt = spelling.text(tokenizer.encode(text))
        assert spelt == "<s>" + text
    # "always" encodes "</s> Wait" and "</s>Wait" alike: the blank that the token writes is the text's
    glued = spelling.text(tokenizer.encode("So it is.</s>Wait. It is."))
    assert glued == "<s>So it is.</s>" + ("" if scheme != "always" else " ") + "Wait. It is."
    assert len(token_forms(tokenizer, ".")[0]) == 1


TAGGED = ("llama2", *BLIND_TO_A_BLANK)


@cache
def tagged(name: str) -> PreTrainedTokenizerFast:
    """A layout with tags that are special, that are not, and one that takes the blank behind it."""
    tokenizer = copy.deepcopy(layout(name))
    tokenizer.add_tokens([AddedToken("[INST]", special=True), AddedToken("[/INST]", special=True)])
    tokenizer.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("<r>", special=True, rstrip=True)]
    )
    return tokenizer


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("tag", ["[/INST]", "<tool>", "EOS"])
def test_a_blank_behind_an_added_token_is_the_texts(name: str, tag: str) -> None:
    tokenizer = tagged(name)
    spelling, tag = spelling_of(tokenizer), tag.replace("EOS", str(tokenizer.eos_token))
    for text in (f"So. {tag} Wait", f"[INST] Wait, let me check. Wait{tag} Wait{tag} 7", f"{tag} Wait"):
        ids = encode(tokenizer, text)
        bos = "<s>" if ids[0] == tokenizer.bos_token_id else ""
        assert spelling.text(ids) == bos + text
        for start in range(len(ids)):
            assert spelling.part(ids, start, len(ids)) == spelling.spell(ids)[start:]
        marks = rm.tokens(" Wait").resolve(tokenizer).mask(Step.of(torch.tensor([ids])))
        assert int(marks.sum()) == text.count(" Wait")
    if name in ("llama2", "llama_first"):
        assert spelling.text(encode(tokenizer, f"So.{tag}Wait")) == f"<s>So.{tag}Wait"


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("tag", ["[/INST]", "<tool>", "<r>", "EOS"])
@pytest.mark.parametrize("right", [" yes", "yes", " 7", "7", "\n7", " let me"])
def test_what_goes_on_behind_an_added_token_has_the_tokens_of_the_whole(
    name: str, tag: str, right: str
) -> None:
    tokenizer = tagged(name)
    if tag == "<r>" and right[0] == "\n":
        with pytest.raises(UnknownNameError):  # the tag takes the line break
            run_after(tokenizer, encode(tokenizer, "so<r>"), right)
        return
    for left in (f"[INST] so{tag.replace('EOS', str(tokenizer.eos_token))}", ""):
        if name == "llama2" and tag == "<r>" and right == " yes":
            continue  # the tag takes the blank, and encoding puts one there
        before, whole = encode(tokenizer, left), encode(tokenizer, left + right)
        if left or right[0] != " " or name == "llama2":
            assert run_after(tokenizer, before, right) == tuple(whole[len(before) :])


@pytest.mark.parametrize("name", TAGGED)
def test_what_shares_a_token_with_the_end_behind_a_special_token_is_refused(name: str) -> None:
    tokenizer = tagged(name)
    before = encode(tokenizer, "[INST] so[/INST] y")
    if encode(tokenizer, "[INST] so[/INST] yes")[: len(before)] == before:
        pytest.skip("two tokens")
    with pytest.raises(DataError, match="one token holds the end of the one and the beginning"):
        run_after(tokenizer, before, "es")


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("left", ["  ", "   ", "<unk> ", "so. ", "so.  "])
def test_a_blank_that_a_text_ends_with_is_not_read_again(name: str, left: str) -> None:
    """Where encoding puts blanks in front, that one is neither dropped nor doubled."""
    tokenizer = layout(name)
    before, whole = encode(tokenizer, left), encode(tokenizer, left + "7")
    if whole[: len(before)] == before:
        assert run_after(tokenizer, before, "7") == tuple(whole[len(before) :])


def test_a_bos_in_the_middle_of_a_text_is_not_its_front() -> None:
    for name, text in (("llama_first", "So.<s> Wait"), ("llama2", "So.<s>Wait"), ("llama2", "So.<s> Wait")):
        assert spelling_of(layout(name)).text(encode(layout(name), text)) == "<s>" + text


def normalising(normalizer: normalizers.Normalizer) -> PreTrainedTokenizerFast:
    """Byte-level BPE behind a normaliser."""
    tokenizer = copy.deepcopy(layout("qwen2"))
    tokenizer.backend_tokenizer.normalizer = normalizer
    tokenizer.add_tokens([AddedToken("<t>", lstrip=True, rstrip=True, normalized=False)])
    return tokenizer


@pytest.mark.parametrize(
    ("normalizer", "word", "message"),
    [
        (normalizers.NFC(), "e\u0301", r"writes '\\xe9' for 'e\\u0301': it normalises Unicode"),
        (normalizers.NFKC(), "ﬁ", r"writes 'fi' for '\\ufb01': it normalises Unicode"),
        (normalizers.Lowercase(), "Wait", "writes 'wait' for it: it lower-cases"),
        (normalizers.NFC(), " <t> x", r"'<t>' takes the white space beside it \(lstrip, rstrip\)"),
    ],
)
def test_a_text_that_is_never_written_is_refused_at_every_door(
    normalizer: normalizers.Normalizer, word: str, message: str
) -> None:
    tokenizer = normalising(normalizer)
    model = layout_model("qwen2")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    host = Host(model, tokenizer, name="h")
    with pytest.raises(UnknownNameError, match=message):
        rm.tokens(word).resolve(tokenizer)
    with pytest.raises(DataError, match=message):
        rm.metrics.answer_likelihood(host, [word])
    with pytest.raises(UnknownNameError, match=message):
        decode = rm.Decode(max_new_tokens=2, stop_strings=(word,))
        rm.generate(host, ["okay"], decode=decode, progress=False)


@pytest.mark.parametrize("scheme", ["always", "first"])
@pytest.mark.parametrize("text", ["Is it so? 你", "x你", "你", "Is it so? 你好", "你 x 你"])
@pytest.mark.parametrize("answer", ["yes", " yes", "."])
def test_a_text_goes_on_behind_a_character_that_the_vocabulary_lacks(
    scheme: str, text: str, answer: str
) -> None:
    """Its unk token has the name of a special one, behind which "always" puts a blank."""
    tokenizer = unigram(scheme)
    ids, both = (tokenizer.encode(t, add_special_tokens=False) for t in (text, text + answer))
    assert ids[-1] == tokenizer.unk_token_id and both[: len(ids)] == ids
    assert run_after(tokenizer, ids, answer) == tuple(both[len(ids) :])
    written = tokenizer.convert_ids_to_tokens(both[len(ids) :])
    assert "".join(written) == answer.replace(" ", "▁")


def test_a_word_that_stands_behind_blanks_alone_can_be_written(tmp_path: Path) -> None:
    """Where a token is a word with its blank, nothing else may stand in front of it."""
    host = rm.load_pair(write_outside_pair(tmp_path, blanks=True)).base
    assert is_writable(host.tokenizer, "next") and is_writable(host.tokenizer, " next")
    assert not is_writable(host.tokenizer, "nxt") and not is_writable(host.tokenizer, "next,")
    ids = torch.tensor(host.encode("w next one . next two"))
    step = Step(
        ids=ids[None],
        mask=torch.ones(1, len(ids), dtype=torch.bool),
        prompt_length=torch.tensor([len(ids)]),
        new=len(ids),
        rows=torch.arange(1),
    )
    marks = rm.tokens("next").resolve(host.tokenizer).mask(step)
    nexts = {host.encode(text)[-1] for text in ("next", "one next")}
    assert marks[0].tolist() == [int(token) in nexts for token in ids] and int(marks.sum()) == 2
    kinds = tasks.get("chain").kinds(host.tokenizer)
    assert kinds.names[:4] == ("plan", "step", "check", "backtrack")
    written = rm.generate(host, ["A 3"], decode=rm.Decode(stop_strings=("next",)), progress=False)
    assert len(written) == 1
