"""Characters of decoded texts, token by token, on every tokenizer layout: any ids, in any order."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts.characters import character_spans, token_name, token_pieces
from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.vocabulary import decode
from reasonmech.hosts.words import token_forms
from reasonmech.locate.feature_summary.tokens import CONTINUED, token_frame
from reasonmech.taxonomies.text import cut, token_offsets
from reasonmech.testing import tiny_coder
from reasonmech.viz.traces import traces_html
from tests.layouts import BLIND_TO_A_BLANK, LAYOUTS, REAL_TEXT, layout, layout_host

RARE = "naïve 你好 👍🏽. Wait, é: 等等。Is it 🙂? So x."
unicode = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("ab .\n!é你🙂👍\u0301\u200d")),
    max_size=30,
)


def rollout_of(name: str, ids: list[int]) -> rm.runtime.Rollout:
    no = (False,) * len(ids)
    return rm.runtime.Rollout(
        rm.Problem("p/0", "q", "a"), 0, (1,), tuple(ids), no, no, "length", decode(layout(name), ids)
    )


def check(name: str, ids: list[int]) -> None:
    tokenizer, text = layout(name), decode(layout(name), ids)
    spans = character_spans(tokenizer, ids, text)
    assert len(spans) == len(ids)
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    assert all(a <= c and b <= d for (a, b), (c, d) in pairwise(spans))
    assert {at for a, b in spans for at in range(a, b)} == set(range(len(text)))
    assert "".join(token_pieces(tokenizer, ids)) == text
    [trace] = cut([rollout_of(name, ids)], tokenizer)
    assert [tuple(span) for span in token_offsets(trace.rollout, tokenizer)] == spans
    assert "".join(trace.words) == text
    assert bool(trace.sentences) == bool(text.strip())
    owners = [t for sentence in trace.sentences for t in range(*sentence.tokens)]
    assert not owners or owners == list(range(len(ids)))
    for sentence in trace.sentences:
        held = range(spans[sentence.start][0], spans[sentence.stop - 1][1])
        first, last = sentence.chars.start, sentence.chars.stop - 1
        assert last in held and (first in held or first in range(*spans[sentence.start - 1]))


@pytest.mark.parametrize("name", REAL_TEXT)
@settings(max_examples=120, deadline=None)
@given(text=unicode, first=st.integers(0, 6), last=st.integers(0, 6))
def test_any_text_cut_off_anywhere(name: str, text: str, first: int, last: int) -> None:
    ids = layout(name).encode(text, add_special_tokens=False)
    check(name, ids[first : len(ids) - last])


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_ids_in_any_order(name: str, data: st.DataObject) -> None:
    spelling, size = spelling_of(layout(name)), len(layout(name))
    parts = [i for i in range(min(size, 1200)) if spelling.piece(i).text.decode(errors="ignore") == ""] or [0]
    padded = st.integers(size, size + 9)  # rows of the model that no token has
    ids = st.one_of(st.integers(0, size - 1), st.sampled_from(parts), padded)
    check(name, data.draw(st.lists(ids, max_size=10)))


@pytest.mark.parametrize("name", ["llama2", "gemma", "qwen2", "smollm2"])
def test_an_id_of_no_token_stands_between_the_bytes_of_a_character(name: str) -> None:
    tokenizer = layout(name)
    ids = tokenizer.encode("a🙂b", add_special_tokens=False)
    at = len(ids) // 2  # in the middle of the character, where it is several tokens
    padded = [*ids[:at], len(tokenizer) + 5, len(tokenizer) + 6, *ids[at:], len(tokenizer) + 5]
    assert decode(tokenizer, padded) == decode(tokenizer, ids)
    check(name, padded)
    pieces = token_pieces(tokenizer, padded)
    assert [piece for piece in pieces if piece] == [piece for piece in token_pieces(tokenizer, ids) if piece]


@pytest.mark.parametrize("name", REAL_TEXT)
def test_every_cut_of_a_text_with_rare_characters(name: str) -> None:
    ids = layout(name).encode(RARE)
    for stop in range(len(ids) + 1):
        check(name, ids[:stop])


@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_character_of_several_tokens_is_shown_once_where_it_begins(name: str) -> None:
    tokenizer = layout(name)
    ids = tokenizer.encode("a🙂b", add_special_tokens=False)
    pieces = token_pieces(tokenizer, ids)
    if name in ("llama2", *BLIND_TO_A_BLANK):  # the blank in front of every text, which most decoders drop
        assert pieces.pop(0) == (" " if name == "gpt2_prefix" else "")
    assert pieces[0] == "a" and pieces[1] == "🙂" and set(pieces[2:-1]) == {""} and pieces[-1] == "b"
    host = layout_host(name)
    direction = rm.Direction.along(host.unembedding()[0].detach(), "resid_post.0")
    view = rm.look(host, RARE, direction)
    assert "".join(view.pieces) == decode(tokenizer, host.encode(RARE))
    assert "" in view.pieces and json.dumps(CONTINUED) in view.fragment
    assert "\\ufffd" not in view.fragment and "�" not in view.fragment


@pytest.mark.parametrize("name", REAL_TEXT)
def test_traces_and_dashboards_show_whole_characters(name: str) -> None:
    host = layout_host(name)
    ids = host.tokenizer.encode(RARE, add_special_tokens=False)
    [trace] = cut([rollout_of(name, ids)], host.tokenizer)
    frame = token_frame("p", trace, host, {"f": [0.0] * len(ids)})
    assert "".join(frame.text).lstrip() == RARE
    page = traces_html(frame, ["f"])
    assert "�" not in page and "🙂" in page and f">{CONTINUED}</span>" in page


# families, flags, colours, a keycap, a flag of tags, letters with marks, a conjunct
DRAWN_OF_SEVERAL = (
    "👩\u200d👩\u200d👧\u200d👦",
    "🇩🇪",
    "🇯🇵",
    "👋🏿",
    "❤️\u200d🔥",
    "1️⃣",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "e\u0301",
    "क्षि",
)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_views_show_what_readers_see_as_one_character_in_one_piece(name: str) -> None:
    host, text = layout_host(name), "a " + " b".join(DRAWN_OF_SEVERAL) + ".\r\nSo 🇩🇪🇯🇵."
    view = rm.look(host, text, rm.Direction.along(host.unembedding()[0].detach(), "resid_post.0"))
    assert "".join(view.pieces) == decode(host.tokenizer, host.encode(text))
    for character in DRAWN_OF_SEVERAL:
        assert any(character in piece for piece in view.pieces), character
    assert [piece for piece in view.pieces if "\r" in piece or "\n" in piece] == [
        piece for piece in token_pieces(host.tokenizer, host.encode(text)) if "\r" in piece or "\n" in piece
    ]


def test_an_answer_shows_all_of_its_text_where_the_prompt_begins_a_character() -> None:
    host = layout_host("qwen2")
    prompt, answer = (tuple(host.tokenizer.encode(text)) for text in ("ok 👍", "🏽."))
    no = (False,) * len(answer)
    rollout = rm.runtime.Rollout(rm.Problem("p", "q", "a"), 0, prompt, answer, no, no, "length", "🏽.")
    [trace] = cut([rollout], host.tokenizer)
    assert "".join(token_frame("p", trace, host, {}).text) == "🏽."


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("qwen2", "é", ["<0xC3>", "<0xA9>"]),
        ("llama2", "é", ["<0xC3>", "<0xA9>"]),
        ("gemma", "é", ["<0xC3>", "<0xA9>"]),
        ("llama2", " yes", [" yes"]),
        ("smollm2", "🙂", ["<0xF0><0x9F>", "<0x99><0x82>"]),
    ],
)
def test_a_part_of_a_character_is_named_by_its_bytes(name: str, text: str, names: list[str]) -> None:
    tokenizer = layout(name)
    ids = token_forms(tokenizer, text)[0]
    assert [token_name(tokenizer, token) for token in ids] == names
    assert [layout_host(name).token_text(token) for token in ids] == names


def test_a_vocabulary_with_holes_names_its_largest_ids_and_none_that_are_not_there() -> None:
    raw = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 9}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
    assert len(tokenizer) == 3
    names = [token_name(tokenizer, token) for token in (1, 9, 5, 10, -1)]
    assert names == ["a", "b", "[id 5]", "[id 10]", "[id -1]"]


@pytest.mark.parametrize("name", ["qwen2", "smollm2"])
def test_tops_of_a_lens_hold_no_lost_character(name: str) -> None:
    host = layout_host(name)
    top = rm.logit_lens(host, rm.Features(tiny_coder(host), (0, 1)), k=60)
    assert not top.token.str.contains("�").any() and top.token.str.contains("<0x").any()


def test_tokens_of_another_text_are_refused() -> None:
    ids = layout("qwen2").encode("Okay.")
    with pytest.raises(DataError, match=r"go on with 'kay\.' at character 1, its text with 'nly'"):
        character_spans(layout("qwen2"), ids, "Only")


def test_another_end_than_the_tokenizers_is_no_sentence_of_the_text() -> None:
    tokenizer = layout("qwen2")
    ids = tokenizer.encode("Okay.<|endoftext|>")
    assert ids[-1] != tokenizer.eos_token_id
    rollout = rollout_of("qwen2", ids)
    object.__setattr__(rollout, "stop", "eos")
    assert [s.kind for s in cut([rollout], tokenizer)[0].sentences] == ["other", "stop"]
