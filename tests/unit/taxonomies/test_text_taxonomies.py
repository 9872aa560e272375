"""Words of the published taxonomies: what each pattern marks, what it leaves alone, and what words get
wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest

from reasonmech.errors import DataError, DuplicateNameError, UnknownNameError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.labels import Labels
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.taxonomies.text import Category, Taxonomy, by_words, compare, cut, taxonomies
from tests.layouts import REAL_TEXT, layout
from tests.unit.taxonomies.real_text import byte_tokenizer, cut_text, written

# taxonomy -> category -> one (marked, left alone) per pattern, in their order
EXAMPLES = {
    "venhoff": {
        "initializing": [
            ("Okay, so I need to find x.", "Okay."),
            ("The problem asks for the area.", "The problem is hard."),
            ("We are given a triangle.", "We are done."),
            ("I need to find the sum.", "I need to be careful."),
            ("First, let me understand the setting.", "Let me check that."),
        ],
        "deduction": [
            ("So x is 5.", "So I need to find x."),
            ("It is therefore even.", "The reason for that is open."),
            ("x is even, which means x squared is.", "I ask which one it is."),
            ("That gives 12.", "That is given."),
            ("Since x is even, x squared is even.", "I have been at it since noon."),
        ],
        "adding-knowledge": [
            ("I remember the sine rule.", "I don't know if it holds."),
            ("Note that 7 is prime.", "I take note."),
            ("By the Pythagorean theorem, c is 5.", "By now c is 5."),
            ("The formula for the area is half of it.", "The formula is long."),
            ("A prime is defined as a number with two divisors.", "A prime is here."),
        ],
        "example-testing": [
            ("For example, 7 is prime.", "It is an example."),
            ("Let's try x = 2.", "Let's try a different approach."),
            ("Let me test it with small numbers.", "The test is on Monday."),
            ("Suppose n = 3 here.", "Suppose it rains."),
        ],
        "uncertainty-estimation": [
            ("I'm not entirely sure.", "I'm sure of it."),
            ("I think it is 5.", "I thought of it."),
            ("Maybe it is 5.", "May is a month."),
            ("Hmm, that is odd.", "Him and me."),
            ("Is that right?", "It is on the right."),
        ],
        "backtracking": [
            ("But wait, that is 6.", "I waited."),
            ("Let me try a different approach.", "Let me try x = 2."),
            ("Alternatively, use the sine rule.", "The terms alternate."),
            ("That's wrong.", "That's right."),
            ("This doesn't work.", "This works."),
            ("I must have made a mistake.", "Everybody makes mistakes."),
        ],
    },
    "gandhi": {
        "verification": [
            ("Let me double-check this.", "Let me try this."),
            ("Check: 3 + 4 = 7.", "A checkered board."),
            ("Yes, this works.", "This is work."),
            ("25 is not equal to 22.", "25 is equal to 25."),
            ("Plug it back into the first equation.", "Pull the plug."),
        ],
        "backtracking": [
            ("Wait, 3 was used already.", "I can't wait to see it."),
            ("Let's try another one.", "Let's try 5 + 3."),
            ("This approach won't work.", "This approach works."),
            ("Let me go back to the first step.", "It goes on."),
            ("I made an error above.", "The error is small."),
        ],
        "subgoal-setting": [
            ("To solve this, we first need to find x.", "We need luck."),
            ("First, we find x.", "The first one is x."),
            ("We break it down into cases.", "We take a break."),
            ("Step 2: find x.", "Mind the step."),
            ("The first sub-problem is the sum.", "The problem is the sum."),
        ],
        "backward-chaining": [
            ("Working backwards, 24 is 8 times 3.", "Working forwards, it is 8."),
            ("Let's start with the target.", "Let's start with 3."),
            ("To reach the target we need a multiple of 5.", "The target is 75."),
            ("What we want to prove is that x is 4.", "What we have is x."),
        ],
        "planning": [
            ("My plan is to sort them.", "I planned it."),
            ("I intend to sort them.", "The intent is clear."),
            ("We're going to sort them.", "We're going home soon."),
            ("Here's how I'll do it.", "Here's x."),
            ("I'll start by sorting them.", "It starts now."),
        ],
    },
}
CELLS = [(name, category) for name, categories in EXAMPLES.items() for category in categories]


def says(sentence: str, taxonomy: str = "venhoff") -> frozenset[str]:
    return taxonomies.get(taxonomy).words_say(sentence)


@pytest.mark.parametrize(("taxonomy", "category"), CELLS)
def test_every_pattern_marks_its_example_and_leaves_the_other_alone(taxonomy: str, category: str) -> None:
    category_found = next(c for c in taxonomies.get(taxonomy).categories if c.name == category)
    examples = EXAMPLES[taxonomy][category]
    assert len(examples) == len(category_found.patterns), "one pair of examples per pattern"
    for pattern, (marked, left) in zip(category_found.patterns, examples, strict=True):
        alone = Taxonomy("alone", "here", (Category(category, category_found.meaning, (pattern,)),))
        assert alone.words_say(marked) == {category}, (pattern, marked)
        assert not alone.words_say(left), (pattern, left)
        assert category in says(marked, taxonomy)
        if left != "We're going home soon.":
            assert category not in says(left, taxonomy), left


def test_all_categories_have_examples() -> None:
    assert {name: set(category_found) for name, category_found in EXAMPLES.items()} == {
        name: set(taxonomies.get(name).names) for name in EXAMPLES
    }


@pytest.mark.parametrize("mark", ["- ", "1. ", "**", "> ", "## ", "2) "])
def test_a_list_marker_is_no_word(mark: str) -> None:
    assert "backtracking" in says(f"{mark}Wait, that was 6.") and not says(f"{mark}I waited.")
    assert "uncertainty-estimation" in says("I’m not sure."), "nor is the form of an apostrophe"


@pytest.mark.parametrize(
    "sentence",
    ["WAIT, that was 6.", "(Wait, that was 6.)", "“Wait, that was 6.”", "…wait, that was 6.",
     "Oh,\u00a0wait, no.", "But  wait, no.", "**Wait**, no.", "*(wait,* no."],
)  # fmt: skip
def test_case_blanks_and_what_leads_a_sentence_in_are_no_part_of_words(sentence: str) -> None:
    assert "backtracking" in says(sentence) and "backtracking" in says(sentence, "gandhi")
    assert "backtracking" not in says(sentence.replace("ait", "aiter").replace("AIT", "AITER"))


@pytest.mark.parametrize("name", REAL_TEXT)
def test_words_are_found_whatever_tokens_they_are(name: str) -> None:
    """The sentence that says the word is labelled, with all its tokens and no other's."""
    tokenizer = layout(name)
    text = "So x is 7.\n\n(Wait, naïve!) It is é 5. Wait: no 🙂.\nwait, so. Awaiting it.\nSo it is."
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    no = (False,) * len(ids)
    written = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    rollout = Rollout(Problem("p", "Q", "A"), 0, (1,), ids, no, no, "eos", written)
    annotation = by_words(cut([rollout], tokenizer), "gandhi")
    [trace] = annotation.traces
    marked = [
        s
        for s, names in zip(trace.sentences, annotation.marks[0] or (), strict=True)
        if "backtracking" in names
    ]
    assert [s.text for s in marked] == ["(Wait, naïve!)", "Wait: no 🙂.", "wait, so."]
    for sentence in marked:
        assert spelling_of(tokenizer).text(ids[slice(*sentence.tokens)]).strip() == sentence.text


def test_wait_as_a_filler_is_left_alone_where_words_can_tell() -> None:
    for taxonomy in EXAMPLES:
        for filler in (
            "Wait for me, said Mia.",
            "I can't wait to see it.",
            "We wait until noon.",
            "She sat in a waiting room.",
        ):
            assert "backtracking" not in says(filler, taxonomy), filler
        for real in ("Wait, 3 was used already.", "So it is 6. Oh wait, it is 7.", "x is 5, wait, no."):
            assert "backtracking" in says(real, taxonomy), real


def test_words_mark_what_is_no_backtracking() -> None:
    """The limits of a lexical labeller. If one of these fails, the patterns got better: move the sentence
    above."""
    assert "backtracking" in says("Wait, so the answer is 5, as expected."), "a confirmation that says wait"
    assert "backtracking" in says("Alternatively, the same result follows from symmetry."), "a second proof"
    assert "backtracking" in says("Suppose that is wrong."), "a hypothesis"
    assert "uncertainty-estimation" in says("I think, therefore I am."), "a quotation"
    assert "verification" in says("Let me check the weather.", "gandhi"), "another check"


def test_words_miss_backtracking_without_a_marker() -> None:
    """As above: what a reader sees and words do not."""
    assert "backtracking" not in says("Actually that gives 12, not 14.") | says("So x is 12.")
    assert "backtracking" not in says("Actually that gives 12, not 14.", "gandhi")
    assert "backtracking" not in says("Redo: 8 + 4 = 12.")
    assert "verification" not in says("3 times 4 is 12 and 12 plus 2 is 14, so yes.", "gandhi")
    assert not says("等一下，这不对。"), "and whatever is not English"


def test_spans_are_the_tokens_of_the_sentences() -> None:
    texts = [
        "Okay, so I need to find x. Let me try x = 5. Wait, that's wrong.\n\nSo x is 4.",
        "I am done. 好。",
    ]
    cuts = cut([written(text, problem=str(i)) for i, text in enumerate(texts)], byte_tokenizer())
    category_found = by_words(cuts, taxonomies.get("venhoff"))
    spans = category_found.spans("backtracking")
    assert [len(s) for s in spans] == [1, 0]
    first = cuts[0].rollout
    assert byte_tokenizer().decode(first.ids[slice(*spans[0][0])]).strip() == "Wait, that's wrong."
    labels = Labels.from_spans("backtracking", category_found.rollouts, spans)
    assert labels.positive.sum() == spans[0][0].stop - spans[0][0].start and len(labels) == sum(
        len(r.ids) for r in category_found.rollouts
    )
    table = category_found.table().set_index("category")
    assert table.loc["backtracking", ["sentences", "rollouts", "n_rollouts", "missing"]].tolist() == [
        1,
        1,
        2,
        0,
    ]
    assert table.loc["backtracking", "share"] == pytest.approx(1 / 6)
    assert all(a.stop <= b.start for s in spans for a, b in pairwise(s))
    with pytest.raises(UnknownNameError, match="backtracking"):
        category_found.spans("backtrack")


def test_two_annotations_are_compared_category_by_category() -> None:
    cuts = [cut_text("Wait, no. So x is 5.", problem=str(i)) for i in range(6)]
    words = by_words(cuts, taxonomies.get("venhoff"))
    same = compare(words, words, draws=100).set_index("category")
    assert same.loc["backtracking", ["kappa", "high"]].tolist() == [1.0, 1.0]
    assert 0 < same.loc["backtracking", "low"] < 0.5  # six problems do not exclude a seventh that differs
    assert "said no" in same.loc["initializing", "why_none"]
    with pytest.raises(DataError, match="different rollouts or taxonomies"):
        compare(words, by_words(cuts, taxonomies.get("gandhi")))
    with pytest.raises(DataError, match="different rollouts"):
        compare(words, by_words(cuts[1:], taxonomies.get("venhoff")))
    with pytest.raises(DataError, match="no sentence"):
        compare(by_words([], taxonomies.get("venhoff")), by_words([], taxonomies.get("venhoff")))


def test_a_taxonomy_of_your_own_is_registered_once_and_its_patterns_are_checked() -> None:
    with pytest.raises(DuplicateNameError, match="venhoff"):
        taxonomies.register("venhoff")(taxonomies.get("gandhi"))
    with pytest.raises(UnknownNameError, match="gandhi, venhoff"):
        taxonomies.get("venhof")
    with pytest.raises(DataError, match="no regular expression"):
        Taxonomy("t", "s", (Category("c", "m", ("(",)),)).words_say("x")
    with pytest.raises(DataError, match="has no pattern"):
        Taxonomy("t", "s", (Category("c", "m", ()),)).words_say("x")
