"""Masks that read words find them in the characters that tokens spell, on every tokenizer layout."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import NoChangeError, UnknownNameError
from reasonmech.hosts.spelling import continues, ends_before, spelling_of
from reasonmech.interventions.masks import Where
from reasonmech.interventions.masks.words import BoundTokens
from reasonmech.step import Step
from reasonmech.testing import assert_causal
from tests.layouts import LAYOUTS, REAL_TEXT, layout, layout_host

THINK = ("<think>", "</think>")
PIECES = (
    "<think>", "</think>", "<think>\n", "\n</think>\n\n", " <think>", " </think>", "<", ">", "</", "think",
    ".", "?!", "...", "\n", "\n\n", " ", "  ", "Wait", " wait", "await", "waiter", "(wait)", "wait,", "é",
    "你好", "🙂", "7", "17", "x7", "</s>", "<|endoftext|>", "$$", "Okay, ", "ééwait",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join)
WORDS = (
    "wait",
    "Wait",
    " wait",
    ".",
    "...",
    "\n",
    "\n\n",
    "7",
    "é",
    "你",
    "🙂",
    "</think>",
    "</s>",
    "$$",
    ", ",
)


def ids_of(name: str, text: str) -> list[int]:
    return layout(name).encode(text)


def marked(where: Where, name: str, ids: list[int]) -> list[bool]:
    return where.resolve(layout(name)).mask(Step.of(torch.tensor([ids])))[0].tolist()


def places(name: str, ids: list[int]) -> tuple[bytes, list[int]]:
    spelling = spelling_of(layout(name))
    return b"".join(piece.text for piece in spelling.spell(ids)), spelling.borders(ids)


def occurrences(name: str, ids: list[int], word: str) -> list[tuple[int, int]]:
    """(start, stop) in bytes, of whole words; nothing of a special token but all of it."""
    written, borders = places(name, ids)
    special = spelling_of(layout(name)).special
    spans = []
    for hit in re.finditer(b"(?=" + re.escape(word.encode()) + b")", written):
        start, stop = hit.start(), hit.start() + len(word.encode())
        last = next(t for t in range(len(ids)) if borders[t + 1] >= stop)
        first = next(t for t in range(len(ids)) if borders[t + 1] > start)
        before = written[:start].decode(errors="replace")[-1:] or " "
        behind = written[stop : borders[last + 1]].decode(errors="replace")[:1] or " "
        cut = (ids[first] in special and borders[first] < start) or (
            ids[last] in special and stop < borders[last + 1]
        )
        if not continues(before, word[0]) and ends_before(word[-1], behind) and not cut:
            spans.append((start, stop))
    return spans


def inside_by_hand(name: str, ids: list[int], opening: str, closing: str) -> list[bool]:
    """Token by token from the text so far alone: what a token is may not depend on what comes behind it."""
    marks = []
    for n in range(1, len(ids) + 1):
        _, borders = places(name, ids[:n])
        tags = [(stop, start, True) for start, stop in occurrences(name, ids[:n], opening)]
        tags += [(stop, start, False) for start, stop in occurrences(name, ids[:n], closing)]
        behind, opened, between = 0, None, []
        for stop, start, opens in sorted(tags):
            if start >= behind and opens == (opened is None):
                if opened is not None:
                    between.append((opened, start))
                opened, behind = (stop, stop) if opens else (None, stop)
        first, last = borders[n - 1], borders[n]
        marks.append(opened is not None or any(max(a, first) < min(b, last) for a, b in between))
    return marks


@pytest.mark.parametrize("name", REAL_TEXT)
@settings(max_examples=60, deadline=None)
@given(text=texts, word=st.sampled_from(WORDS))
def test_tokens_names_the_token_that_completes_each_occurrence(name: str, text: str, word: str) -> None:
    ids = ids_of(name, text)
    _, borders = places(name, ids)
    stops = {stop for _, stop in occurrences(name, ids, word)}
    by_hand = [any(borders[t] < stop <= borders[t + 1] for stop in stops) for t in range(len(ids))]
    assert marked(rm.tokens(word), name, ids) == by_hand


@pytest.mark.parametrize("name", REAL_TEXT)
@settings(max_examples=60, deadline=None)
@given(text=texts, tags=st.sampled_from((THINK, ("<", ">"), ("$$", "$$"), ("Wait", "."), ("\n", "\n\n"))))
def test_inside_is_what_the_text_so_far_says(name: str, text: str, tags: tuple[str, str]) -> None:
    ids = ids_of(name, text)
    assert marked(rm.interventions.inside(*tags), name, ids) == inside_by_hand(name, ids, *tags)


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_masks_read_nothing_that_comes_later_and_no_padding(name: str, data: st.DataObject) -> None:
    tokenizer = layout(name)
    known = ids_of(name, data.draw(texts)) or [0]
    rows = data.draw(
        st.lists(st.lists(st.sampled_from(known), min_size=1, max_size=7), min_size=2, max_size=3)
    )
    width = max(map(len, rows)) + 2
    # padding in front, behind, and between two tokens
    padded = [[0, *row[:1], *[0] * (width - len(row) - 1), *row[1:]] for row in rows]
    real = [[False, True, *[False] * (width - len(row) - 1), *[True] * (len(row) - 1)] for row in rows]
    ids, mask = torch.tensor(padded), torch.tensor(real)
    lengths = torch.ones(len(rows), dtype=torch.long)
    step = Step(ids=ids, mask=mask, prompt_length=lengths, new=width, rows=torch.arange(len(rows)))
    for part in (rm.interventions.inside(*THINK), rm.tokens(".")):
        whole = part.resolve(tokenizer).mask(step)
        for i, row in enumerate(rows):
            alone = Step.of(torch.tensor([row]), prompt_length=1)
            assert torch.equal(part.resolve(tokenizer).mask(alone)[0], whole[i][mask[i]])
            for n in range(1, len(row)):
                shorter = Step.of(torch.tensor([row[:n]]), prompt_length=1)
                assert torch.equal(part.resolve(tokenizer).mask(shorter)[0], whole[i][mask[i]][:n])


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "where",
    [
        rm.tokens("."),
        rm.interventions.inside(*THINK),
        rm.interventions.sentence_starts(),
        rm.tokens("</think>"),
    ],
)
def test_masks_of_words_are_causal_on_random_tokens(name: str, where: Where) -> None:
    assert_causal(where, tokenizer=layout(name), seeds=8)


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("word", [".", ",", "\n", "Wait", " Wait", "wait", "(", "check", "let me"])
def test_every_occurrence_is_found(name: str, word: str) -> None:
    text = "Okay. Wait, let me check. (wait) Yes.\n\nx is 4.\nWait. Wait, let me check: so.\n"
    assert sum(marked(rm.tokens(word), name, ids_of(name, text))) == (
        text.count(word) if word not in ("\n", ".") else len(stops(name, text, word))
    )


def stops(name: str, text: str, word: str) -> set[int]:
    """Tokens, by the tokenizer's own offsets, that hold the end of an occurrence."""
    offsets = layout(name)(text, return_offsets_mapping=True)["offset_mapping"]
    ends = [hit.end() for hit in re.finditer(re.escape(word), text)]
    return {t for end in ends for t, (a, b) in enumerate(offsets) if a < end <= b}


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize(
    "text",
    [
        "Q: 3+4?\n<think>\nOkay, 3 + 4 = 7.\n</think>\n\nThe answer is 7.\n",
        "<think>\nOkay, 3 + 4 = 7.\n</think>\n\nThe answer is 7.\n",
        "Q: 3+4? <think> It is 7. </think>\n\nThe answer is 7. Yes.",
        "Q: 3+4?\n<think>\nIs it (3+4)=7?</think>\n\nThe answer is 7.",
        "<think>\n$$3+4=7$$</think> The answer is 7.",
        "a <think>x</think>y <think>\nz\n</think> w",
    ],
)
def test_what_is_between_tags_is_masked_and_what_is_behind_them_is_not(name: str, text: str) -> None:
    offsets = layout(name)(text, return_offsets_mapping=True)["offset_mapping"]
    regions = [hit.span(1) for hit in re.finditer("<think>(.*?)</think>", text, re.DOTALL)]
    marks = marked(rm.interventions.inside(*THINK), name, ids_of(name, text))
    for mark, (start, stop) in zip(marks, offsets, strict=True):
        if any(max(start, a) < min(stop, b) for a, b in regions):
            assert mark, f"{text[start:stop]!r} holds a character between the tags"
        elif not any(a - 1 <= start < b + 8 for a, b in regions):
            assert not mark, f"{text[start:stop]!r} stands outside"
    closed = [b + len("</think>") for _, b in regions]
    holds_end = [t for t, (start, stop) in enumerate(offsets) for end in closed if start < end <= stop]
    assert not any(marks[t] for t in holds_end), "the token that closes the tag is outside"


def test_a_bound_mask_tells_the_tokens_of_its_words() -> None:
    llama = layout("llama2")
    bound = rm.tokens(".", " Wait", 5, (6, 7)).resolve(llama)
    assert isinstance(bound, BoundTokens)
    dot, wait = llama.convert_tokens_to_ids([".", "▁Wait"])
    assert bound.items == ((dot,), (wait,), (5,), (6, 7))


def test_unk_that_is_a_word_is_found() -> None:
    ids = ids_of("smollm2", "Hi.<|endoftext|>New text")
    assert marked(rm.tokens("<|endoftext|>"), "smollm2", ids) == [token == 0 for token in ids]


def test_no_word_begins_or_ends_in_a_special_token() -> None:
    ids = ids_of("llama2", "so </s> s")
    assert marked(rm.tokens("s"), "llama2", ids) == [False] * (len(ids) - 1) + [True]
    assert sum(marked(rm.tokens("</s>"), "llama2", ids)) == 1


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("WAIT", "in another case: ' Wait'"),
        (" Okay", "with other blanks around it: 'Okay'"),
        ("nothing", "no text holds the characters 'nothing'"),
        ("hec", "only inside longer words or special tokens, such as 'check.'"),
        (11, "no text has the token 11"),
    ],
)
@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_mask_that_names_nothing_says_why(name: str, word: str | int, cause: str) -> None:
    host = layout_host(name)
    vector = rm.Direction.along(torch.ones(host.d_model), "resid_post.0")
    plan = [rm.steer(vector, 1.0, where=rm.tokens(word) & rm.prompt())]
    text = "Okay. So wait: Wait, let me check."
    with pytest.raises(NoChangeError) as error:
        rm.forward(host, [text], plan, receipt="none")
    assert cause.replace("' Wait'", "") in str(error.value)
    opening = [rm.steer(vector, 1.0, where=rm.interventions.inside("<THINK>", "</think>"))]
    with pytest.raises(NoChangeError, match="in another case: '<think>'"):
        rm.forward(host, ["<think>\n so"], opening, receipt="none")


def test_a_word_that_is_there_but_not_where_the_mask_looks_is_not_called_absent() -> None:
    host = layout_host("qwen2")
    vector = rm.Direction.along(torch.ones(host.d_model), "resid_post.0")
    with pytest.raises(
        NoChangeError,
        match=r"no token of the run\n",
    ) as error:
        rm.forward(host, ["Okay."], [rm.steer(vector, 1.0, where=rm.tokens(".") & rm.generated())])
    assert "holds" not in str(error.value)


def test_a_word_that_a_tokenizer_cannot_write_is_refused_when_the_plan_is_bound() -> None:
    with pytest.raises(UnknownNameError, match="writes '<unk>'"):
        rm.tokens("unheard").resolve(layout("words"))


def test_a_bound_mask_says_what_its_source_says() -> None:
    where = rm.tokens(".", 3) & ~rm.interventions.inside(*THINK)
    bound = where.resolve(layout("qwen2"))
    assert str(bound) == str(where) and bound.to_json() == where.to_json()
    assert bound == where.resolve(layout("qwen2")) and hash(bound) == hash(where.resolve(layout("qwen2")))
    assert bound != where.resolve(layout("gemma"))


def test_sentences_begin_behind_signs_whose_bytes_are_tokens() -> None:
    ids = ids_of("gemma", "你好。x. y")
    pieces = [spelling_of(layout("gemma")).text(ids[: n + 1]) for n in range(len(ids))]
    marks = marked(rm.interventions.sentence_starts(ends=("。", ".")), "gemma", ids)[1:]
    begun = [text for text, mark in zip(pieces[1:], marks, strict=True) if mark]
    assert begun == ["<s>你好。x", "<s>你好。x. y"]


CAPITALISED = (
    "So x is 3.14, i.e. pi. Dr. Smith left. Then v2.0.1 came.",
    'He said "Stop." Then (as cf. Rule 2.) "Go!" He went.',
    "It is 5! Or not? Yes... No. A.B. Then\nNext one.\n\nAnd 0.5 it is?! Yes.",
    "1.5.2 is out. See e.g. Smith. Prof. Jones et al. Agree. 你好 3.5.",
)


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("text", CAPITALISED)
def test_sentences_begin_where_the_text_is_cut(name: str, text: str) -> None:
    """Where every sentence begins with a capital, the text up to a token tells whether one does."""
    ids = ids_of(name, text)
    pieces = [piece.text for piece in spelling_of(layout(name)).spell(ids)]
    marks = marked(rm.interventions.sentence_starts(), name, ids)
    behind = {b"".join(pieces[i:]).decode(errors="replace").strip() for i, mark in enumerate(marks) if mark}
    expected = {text[span.start :] for span in rm.taxonomies.text.segment(text)}
    fronts = {front for front in behind if front.endswith(text)}  # special tokens in front of the text
    assert behind - fronts | {text} == expected


def test_incremental_marks_of_sentences_are_those_of_the_whole() -> None:
    for text in CAPITALISED:
        ids = torch.tensor([ids_of("qwen2", text)])
        bound = rm.interventions.sentence_starts().resolve(layout("qwen2"))
        whole = bound.mask(Step.of(ids))
        for n in range(1, ids.shape[1] + 1):
            step = replace(Step.of(ids[:, :n], prompt_length=ids.shape[1]), new=1)
            assert torch.equal(bound.mask(step)[:, -1], whole[:, n - 1])


def test_incremental_marks_are_those_of_the_whole() -> None:
    ids = torch.tensor([ids_of("qwen2", "<think>\nOkay.\n</think>\n\nYes.")])
    bound = rm.interventions.inside(*THINK).resolve(layout("qwen2"))
    whole = bound.mask(Step.of(ids))
    for n in range(1, ids.shape[1] + 1):
        step = replace(Step.of(ids[:, :n]), new=1)
        assert torch.equal(step.computed(bound.mask(step))[:, -1], whole[:, n - 1])


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize(
    ("text", "word", "times"),
    [
        ("ביתי בית", "בית", 1),
        ("המדרסה מדר", "מדר", 1),
        ("المدرسة مدر", "مدر", 1),
        ("کتاب‌ها کتاب", "کتاب", 1),  # a joiner without width is inside the word
        ("किताब क", "क", 1),
        ("किताब", "कि", 0),
        ("किताब", "ताब", 0),
        ("किताब किताब।", "किताब", 2),
        ("தமிழ் தமி", "தமி", 1),
        ("학교에서 학교", "학교", 2),  # a particle is glued to its word
        ("중학교에서 학교는", "학교", 1),
        ("생각은 생각을 생각", "생각", 3),
        ("\u1112\u1161\u11a8 \u1112\u1161", "\u1112\u1161", 1),  # in letters: not the rest of a syllable
        ("\u1112\u1161\u1109\u1161", "\u1112\u1161", 1),
        ("7이다", "7", 1),
        ("等等。等", "等", 3),
        ("ひらがな", "が", 1),
        ("カタカナ", "タ", 1),
        ("ภาษาไทย", "ไทย", 1),
        ("ภาษาไทย", "ษา", 1),
        ("ភាសាខ្មែរ", "ខ្មែរ", 1),
        ("x7 17 7", "7", 2),
        ("٣٤ ٤", "٤", 1),
        ("❤️ ❤", "❤", 2),
        ("👨‍👩 x", "👩", 1),
        ("café cafe", "cafe", 1),
        ("cafe\u0301 cafe", "cafe", 1),
        ("cafe\u0301s s", "s", 1),
        ("straße 你s", "s", 1),
        ("k\u0301k", "\u0301", 0),
    ],
)
def test_a_word_of_any_script_is_none_in_the_middle_of_a_longer_one(
    name: str, text: str, word: str, times: int
) -> None:
    ids = ids_of(name, text)
    written, borders = places(name, ids)
    assert written.decode().endswith(text)
    expected = occurrences(name, ids, word)
    # what is written behind the last token of a word is not known when it is complete
    stops = {stop for _, stop in expected}
    marks = marked(rm.tokens(word), name, ids)
    assert sum(marks) == len({t for t in range(len(ids)) for s in stops if borders[t] < s <= borders[t + 1]})
    whole = [
        (start, stop)
        for start, stop in expected
        if ends_before(word[-1], written[stop:].decode(errors="replace")[:1] or " ")
    ]
    assert len(whole) == times
