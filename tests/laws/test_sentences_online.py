"""A text is cut into sentences while it is written exactly as it is afterwards: by masks, by `cut`, and by
what follows a text token by token."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.hosts.characters import token_pieces
from reasonmech.hosts.growing_ids import GrowingIds
from reasonmech.hosts.spelling import spelling_of
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.step import Step
from reasonmech.taxonomies.text import cut, cut_by_pieces, segment, token_offsets
from tests.layouts import REAL_TEXT, layout
from tests.unit.taxonomies.test_sentences import CASES

PROMPT = "Q: What is 3.5 + 1? Say so."
TEXTS = {
    "glued tags": "<think>Okay, so x is 7.</think>The answer is 7.",
    "tags on lines": "<think>\nOkay. Wait.\n</think>\n\nThe answer is 7.",
    "a tag in a sentence": "So it is<think>Hmm. Yes</think>done. Next.",
    "display": "We get \\[ x = 3. Y \\] and \\( a. B \\). Then $$c. D$$ ends. Next.",
    "a fence": "Code:\n```python\nx = 1. Y\n\nprint(2)\n```\nDone. Yes.",
    "decimals": "So x = 3.14. Then v2.0.1 came. It is .5 more.",
    "abbreviations": "See e.g. Fig. 3, i.e. this. Dr. Smith left. Yes.",
    "emoji": "Yes! 🙂 So it is 5. 🎉🎉 Done. 👩‍👩‍👧 Next.",
    "chinese": "所以答案是五。对吗？是的！“好。”然后 3.14。",
    "japanese": "答えは五です。こんにちは。\u3000はい！",
    "russian": "Ответ 5. Подожди, т.е. нет. Да? Да.",
    "quotes": 'He said "Stop." Then “Go!” “Yes.” She went.',
    "white space": "So.\u3000\u3000Then.\x85Next.\u2028 Last.\xa0 \n",
    "lists": "1. First. Then that.\n2) Second\n\n- Item one. Two",
    "formulas that stay open": "Take \\[ x. Y and more. It costs $5. And $10. The rest",
    "lower case": "It is 5. y is 7. wait, 5! = 120. then it grew.",
}


def written(name: str, text: str) -> Rollout:
    """A text as if a model with this tokenizer had generated it."""
    tokenizer = layout(name)
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    return of_ids(name, ids)


def of_ids(name: str, ids: tuple[int, ...]) -> Rollout:
    tokenizer, no = layout(name), (False,) * len(ids)
    pieces = tuple(token_pieces(tokenizer, ids))
    prompt = tuple(tokenizer.encode(PROMPT))
    return Rollout(Problem("p", PROMPT, "5"), 0, prompt, ids, no, no, "length", "".join(pieces), pieces)


def starts_online(name: str, rollout: Rollout) -> list[int]:
    """Token by token, nothing but what is written so far being there."""
    growing, n = GrowingIds(spelling_of(layout(name))), len(rollout.ids)
    return [t for t in range(n) if growing.append(rollout.ids[: t + 1], t) is not None]


def starts_of_mask(name: str, rollout: Rollout, *, online: bool) -> list[int]:
    """Of the generated tokens; given all at once, or one more at every step."""
    bound = rm.interventions.sentence_starts().resolve(layout(name))
    first, ids = len(rollout.prompt_ids), torch.tensor([rollout.all_ids])
    if not online:
        return [t - first for t in bound.mask(Step.of(ids, prompt_length=first))[0].nonzero()[:, 0].tolist()
                if t >= first]  # fmt: skip
    marks = [bound.mask(replace(Step.of(ids[:, :n], prompt_length=first), new=1))[0, -1]
             for n in range(first + 1, ids.shape[1] + 1)]  # fmt: skip
    return [t for t, mark in enumerate(marks) if mark]


def check_same(name: str, rollout: Rollout) -> None:
    offline = [s.start for s in cut([rollout], layout(name))[0].sentences]
    assert [s.start for s in cut_by_pieces(rollout).sentences] == offline
    online = starts_online(name, rollout)
    if not offline:
        return
    # what comes before the first visible token belongs to the first sentence
    assert offline == [0, *online[1:]], rollout.text
    first = {0, online[0]}
    assert set(starts_of_mask(name, rollout, online=False)) | first == {*offline, *first}
    assert set(starts_of_mask(name, rollout, online=True)) | first == {*offline, *first}


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("case", TEXTS)
def test_sentences_are_cut_online_as_offline(name: str, case: str) -> None:
    check_same(name, written(name, TEXTS[case]))


PIECES = st.sampled_from(
    [
        *TEXTS.values(),
        *(text for text, _ in CASES.values()),
        ". ",
        ".",
        "\n",
        "\\[",
        "\\]",
        "$",
        "```\n",
        "<think>",
        "</think>",
        "🙂",
        "。",
        "\u3000",
        "\x85",
        "e.g. ",
        "3.14",
        " wait",
        "Wait",
        "“",
        "é",
        "`",
    ]
)
PROSE = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=4).map("".join))


@pytest.mark.parametrize("name", REAL_TEXT)
@settings(max_examples=30, deadline=None)
@given(text=PROSE)
def test_any_text_is_cut_online_as_offline(name: str, text: str) -> None:
    # white space of several bytes at the very end begins a sentence, of which nothing comes
    rollout = written(name, text.rstrip())
    if rollout.ids:
        check_same(name, rollout)


def starts_of_whole(name: str, rollout: Rollout) -> list[int]:
    """First tokens of the sentences that a reader of the whole text cuts."""
    starts, firsts = [span.start for span in segment(rollout.text)], dict[int, int]()
    for t, (start, stop) in enumerate(token_offsets(rollout, layout(name))):
        if visible := rollout.text[start:stop].lstrip():
            firsts.setdefault(bisect_right(starts, stop - len(visible)) - 1, t)
    return [0, *list(firsts.values())[1:]]


SHOWN = ("glued tags", "tags on lines", "display", "a fence", "decimals", "abbreviations", "emoji", "lists")


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("case", SHOWN)
def test_what_the_text_so_far_shows_is_cut_as_the_whole_text(name: str, case: str) -> None:
    rollout = written(name, TEXTS[case])
    assert [s.start for s in cut([rollout], layout(name))[0].sentences] == starts_of_whole(name, rollout)


@pytest.mark.parametrize(
    ("text", "whole", "so_far"),
    [
        ("Take \\[ x. Y and more.", ["Take \\[ x.", "Y and more."], ["Take \\[ x. Y and more."]),
        ("Add min. value.", ["Add min. value."], ["Add min.", "value."]),
        ("It is<think>so.", ["It is", "<think>", "so."], ["It is", "<think>", "so."]),
    ],
)
def test_what_only_the_text_to_come_could_tell(text: str, whole: list[str], so_far: list[str]) -> None:
    """A formula that stays open; a word that begins as one letter; a tag of several tokens in a sentence."""
    rollout = written("qwen2", text)
    assert [text[start:stop] for start, stop in segment(text)] == whole
    assert [s.text for s in cut([rollout], layout("qwen2"))[0].sentences] == so_far


def test_a_copy_is_written_on_by_itself() -> None:
    growing = GrowingIds(spelling_of(layout("qwen2")))
    for piece in (b"So. ", "🙂".encode()[:2]):
        growing.write(piece)
    twin = growing.copy()
    assert twin.write("🙂".encode()[2:] + b" Yes. ") is None and twin.text.may_begin
    assert not growing.text.may_begin and growing.write("🙂".encode()[2:]) is None


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("", True),
        ("So", False),
        ("So.", True),
        ("So. ", True),
        ("e.g.", False),
        ("e.g.\n", True),
        ("x = 3.", True),
        ("\\[ x.", False),
        ("Yes\n", True),
        ("\n", True),
        ("So.</think>", True),
        ("好。", True),
    ],
)
def test_whether_a_sentence_may_begin_is_known_before_it_does(text: str, may: bool) -> None:
    growing = GrowingIds(spelling_of(layout("qwen2")))
    for character in text:
        growing.write(character.encode())
    assert growing.text.may_begin == may
