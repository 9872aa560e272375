"""Sentences of real text: what ends one, what does not, and which tokens are whose."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.errors import DataError
from reasonmech.labels import Labels, Span
from reasonmech.taxonomies.text import CharSpan, cut, segment, token_offsets
from tests.unit.taxonomies.real_text import byte_tokenizer, cut_text, word_tokenizer, written


def sentences(text: str) -> list[str]:
    return [text[start:stop] for start, stop in segment(text)]


CASES = {
    "decimals": ("So x = 3.14. Then y is .5 more.", ["So x = 3.14.", "Then y is .5 more."]),
    "abbreviations": (
        "Take a prime, e.g. 7, i.e. odd. See Fig. 3 and Eq. (2) etc. for more. Pick no. 5. I said no. 5 is "
        "wrong?",
        [
            "Take a prime, e.g. 7, i.e. odd.",
            "See Fig. 3 and Eq. (2) etc. for more.",
            "Pick no. 5.",
            "I said no. 5 is wrong?",
        ],
    ),
    "ellipses": (
        "Hmm... so 5. Hmm... Let me see. Yes… No",
        ["Hmm... so 5.", "Hmm...", "Let me see.", "Yes…", "No"],
    ),
    "questions": ("Is it 5? no, it's 6! Wait?! Yes.", ["Is it 5?", "no, it's 6!", "Wait?!", "Yes."]),
    "factorials": ("5! = 120 and n! ways. So 3! Then 4.", ["5! = 120 and n! ways.", "So 3!", "Then 4."]),
    "quotes": (
        '"Stop!" she said. He said "No." Then (yes.) we.',
        ['"Stop!" she said.', 'He said "No."', "Then (yes.) we."],
    ),
    "lists": (
        "1. First. Then that.\n2) Second\n\n- Item one. Two\n* b\n**3.** Bold. Next",
        ["1. First.", "Then that.", "2) Second", "- Item one.", "Two", "* b", "**3.** Bold.", "Next"],
    ),
    "headings": (
        "## Step 1. Compute\nA. Yes\nThe answer is B. Now C.",
        ["## Step 1. Compute", "A. Yes", "The answer is B.", "Now C."],
    ),
    "display": (
        "We get\n\\[ x = 3. \\]\nso $$a. B$$ ends. Next \\begin{align}a. B\\\\ c\\end{align} Z. Y",
        [
            "We get",
            "\\[ x = 3. \\]",
            "so $$a. B$$ ends.",
            "Next \\begin{align}a. B\\\\ c\\end{align} Z.",
            "Y",
        ],
    ),
    "inline": ("Let $a. B$ and \\(c. D\\) be. So.", ["Let $a. B$ and \\(c. D\\) be.", "So."]),
    "dollars": ("It costs $5. And $10. The rest", ["It costs $5.", "And $10.", "The rest"]),
    "unclosed": ("Take \\[ x. Y and $ z. W\n\n\\] V", ["Take \\[ x.", "Y and $ z.", "W", "\\] V"]),
    "fence": (
        "Code:\n```python\nx = 1. Y\n\nprint('a. B')\n```\nDone.",
        ["Code:", "```python\nx = 1. Y\n\nprint('a. B')\n```", "Done."],
    ),
    "open fence": ("```\nx. Y\nz", ["```", "x.", "Y", "z"]),
    "code": ("Call `a. B` once. Twice.", ["Call `a. B` once.", "Twice."]),
    "think": (
        "<think>\nOkay. So.</think>The answer is 5.<|im_end|>",
        ["<think>", "Okay.", "So.", "</think>", "The answer is 5.", "<|im_end|>"],
    ),
    "chinese": (
        "所以答案是五。对吗？是的！“好。”然后 3.14。",
        ["所以答案是五。", "对吗？", "是的！", "“好。”", "然后 3.14。"],
    ),
    "variables": ("It is 5. y is 7. Add min. value", ["It is 5.", "y is 7.", "Add min. value"]),
    "lines": ("a = 1\nb = 2\r\nc\u2028d\n\n\n e \t", ["a = 1", "b = 2", "c", "d", "e"]),
    "bold": ("And **bold.** Next. _So._ Then", ["And **bold.**", "Next.", "_So._", "Then"]),
    "inside": (
        "Open a.py at example.com. Wait...what? Ok",
        ["Open a.py at example.com.", "Wait...what?", "Ok"],
    ),
    "nothing": (" \n\t ", []),
    "marks": (". . .", [".", ".", "."]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_text_is_cut_where_a_reader_would(name: str) -> None:
    text, wanted = CASES[name]
    assert sentences(text) == wanted


def test_what_punctuation_cannot_tell_apart_is_decided_and_sometimes_wrong() -> None:
    assert sentences("We thank J. Smith. Bye") == ["We thank J.", "Smith.", "Bye"], "an initial is cut"
    assert sentences("It was 5. then it grew.") == ["It was 5. then it grew."], "a careless lower case is not"
    assert sentences("So it is 5.Then 6.") == ["So it is 5.Then 6."], "nor is a full stop without a blank"


PIECES = st.sampled_from(
    [
        *(text for text, _ in CASES.values()),
        "$",
        "$$",
        "\\[",
        "\\]",
        "\\(",
        "```\n",
        "~~~\n",
        "<think>",
        "`",
        ". ",
        "\n",
        "1. ",
        "e.g. ",
        "…",
        "。",
        "🙂",
        "é",
        "\\",
        "\u3000",
        "\x1c",
        "<|end|>",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=8).map("".join))


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_sentences_are_ordered_disjoint_and_leave_only_white_space(text: str) -> None:
    sentences_cut = segment(text)
    assert all(start < stop for start, stop in sentences_cut)
    assert all(a.stop <= b.start for a, b in pairwise(sentences_cut))
    gaps = [
        text[a:b]
        for a, b in zip(
            [0, *(s.stop for s in sentences_cut)], [*(s.start for s in sentences_cut), len(text)], strict=True
        )
    ]
    assert "".join(gaps).strip() == "" and sum(map(len, gaps)) + sum(b - a for a, b in sentences_cut) == len(
        text
    )
    assert all(text[a:b] == text[a:b].strip() for a, b in sentences_cut)


def check_tokens(text: str, ids: list[int] | None = None) -> None:
    rolled = written(text, ids=ids)
    offsets = token_offsets(rolled, byte_tokenizer())
    assert len(offsets) == len(rolled.ids)
    assert all(a.start <= b.start and a.stop <= b.stop for a, b in pairwise(offsets))
    sentences_cut = cut([rolled], byte_tokenizer())[0].sentences
    if not rolled.text.strip():
        assert sentences_cut == ()
        return
    owned = [t for s in sentences_cut for t in range(*s.tokens)]
    assert owned == list(range(len(rolled.ids))), "every token has exactly one sentence, in order"
    for s in sentences_cut:
        assert s.text == rolled.text[slice(*s.chars)] == s.text.strip() != ""
        visible = [offsets[t] for t in range(*s.tokens) if rolled.text[slice(*offsets[t])].strip()]
        assert s.chars.start < visible[0].stop, (
            "its first character is in its first visible token, or in one before"
        )
        assert visible[0].start <= s.chars.start or s.chars.start < offsets[s.tokens.start - 1].stop
        assert s.chars.stop <= max(o.stop for o in visible), "and its last in one of its own"


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_tokens_map_to_exactly_one_sentence(text: str) -> None:
    check_tokens(text)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_so_do_tokens_that_no_tokenizer_would_choose(seed: int) -> None:
    """Any ids at all: other splits of the same words, and bytes that are no character."""
    rng = random.Random(seed)
    check_tokens("", [rng.randrange(len(byte_tokenizer())) for _ in range(rng.randrange(40))])


def test_a_character_of_several_tokens_is_one_place() -> None:
    rolled = written("对。 🙂 x")
    offsets = token_offsets(rolled, byte_tokenizer())
    assert len(rolled.ids) > len(rolled.text), "the point of this text: fewer characters than tokens"
    for at, character in enumerate(rolled.text):
        writers = [t for t, (start, stop) in enumerate(offsets) if start <= at < stop]
        assert character in byte_tokenizer().decode([rolled.ids[t] for t in writers])
    smile = rolled.text.index("🙂")
    assert offsets.count(CharSpan(smile, smile + 1)) >= 3


def test_sentences_that_share_a_token_are_joined_and_a_blank_token_goes_to_the_one_before() -> None:
    text = "是。好。对 吧。"
    assert sentences(text) == ["是。", "好。", "对 吧。"]
    sentences_cut = cut([replace(written("x"), ids=(0, 1), text=text)], word_tokenizer("是。好。对", "吧。"))[
        0
    ].sentences
    assert [(s.text, s.tokens) for s in sentences_cut] == [("是。好。", Span(0, 1)), ("对 吧。", Span(1, 2))]
    blank = cut_text("Yes.\n\n\nNo.")
    assert [s.text for s in blank.sentences] == ["Yes.", "No."]
    first, second = (blank.rollout.ids[slice(*s.tokens)] for s in blank.sentences)
    assert byte_tokenizer().decode(first) == "Yes.\n\n\n" and byte_tokenizer().decode(second) == "No."


def test_spans_are_what_labels_take() -> None:
    sentences_cut = cut_text("Let x be 5. So x is 5.")
    labels = Labels.from_spans("second", [sentences_cut.rollout], [[sentences_cut.sentences[1].tokens]])
    marked = [sentences_cut.rollout.all_ids[p] for p in labels.position[labels.positive]]
    assert byte_tokenizer().decode(marked).strip() == "So x is 5." and not labels.positive.all()


def test_a_foreign_tokenizer_and_a_foreign_text_are_refused() -> None:
    rolled = written("Let x be 5.")
    with pytest.raises(DataError, match="its tokens go on with"):
        token_offsets(replace(rolled, text="Let y be 5."), byte_tokenizer())
    with pytest.raises(DataError, match="its tokens go on with ''"):
        token_offsets(replace(rolled, text="Let x be 5. And more"), byte_tokenizer())
    with pytest.raises(DataError, match="Rust backend"):
        token_offsets(rolled, object())  # type: ignore[arg-type]
