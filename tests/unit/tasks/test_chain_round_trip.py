"""The chain parser reads back what an author meant: thousands of documents whose sentences are known as they
are written."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.organisms.training.corpus import Author, Modes, Word
from reasonmech.rollout import Sentence
from reasonmech.tasks.chain.grammar import INDEX_WORDS, OPERATORS, evaluate
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import CHAIN, FORMS, NOVEL_OPERATOR, SILENT, SWAPPED, TELLING, World
from tests.unit.tasks.chain_text import PROBLEM, rollout


@dataclass(frozen=True)
class Meant:
    """What a sentence states, apart from where it stands."""

    kind: str
    item: int | None = None
    value: int | None = None
    correct: bool | None = None
    relation: str | None = None
    standing: int | None = None
    equation: str | None = None


def read(sentence: Sentence) -> Meant:
    s = sentence
    return Meant(s.kind, s.item, s.value, s.correct, s.relation, s.standing, s.equation)


class Recorder(Author):
    """An author who notes what each sentence is when choosing its first word, before any other is written."""

    def __init__(self, rng: random.Random, modes: Modes, world: World) -> None:
        super().__init__(rng, modes, world)
        self.meant: list[Meant] = []

    def begin(self, kind: str, value: int = 0) -> str:
        self.meant.append(Meant(kind))
        return super().begin(kind, value)

    def write_step(
        self, item: int, left: int, operator: str, operand: int, p_check: float, p_back: float
    ) -> tuple[list[Word], int]:
        before = len(self.meant)
        words, value = super().write_step(item, left, operator, operand, p_check, p_back)
        truth, equation = evaluate(left, operator, operand), f"{left} {operator} {operand}"
        slipped = next((int(word.text) for word in words if not word.learnt), None)
        stated = truth if slipped is None else slipped
        means = {
            "step": Meant("step", item, stated, slipped is None, "establishes", None, equation),
            "check": Meant("check", item, truth, True, "verifies", stated, equation),
            "backtrack": Meant("backtrack", item, truth, True, "revises", stated, equation),
        }
        self.meant[before:] = [means.get(m.kind, m) for m in self.meant[before:]]
        assert value == (truth if self.meant[-1].kind == "backtrack" else stated)
        return words, value

    def write_ending(self, value: int) -> list[Word]:
        words = super().write_ending(value)
        self.meant[-1] = Meant("conclude", value=value, relation="concludes")
        return words


BUSY = Modes(thorough=1, check_step=(0.8, 0.5), backtrack=(0.9, 0.5), plan=0.5, uncertain=0.4, slip=0.4)


def round_trip(world: World, seed: int) -> list[Meant]:
    """Write one document and check that the parser reads what its author noted; returns what was noted."""
    filler = 0.3 if "filler" in world.onset_words else 0.0
    modes = Modes(**{**vars(BUSY if seed % 2 else Modes()), "filler": filler})
    author = Recorder(random.Random(f"round trip|{world.name}|{seed}"), modes, world)
    words = [word.text for word in author.write_solution()]
    body = words[words.index("A") + 2 :]
    parsed = parse(rollout(" ".join(body)), world.kind_of_word)
    assert [read(s) for s in parsed.sentences] == [*author.meant, Meant("stop")], " ".join(words)
    assert [w for s in parsed.sentences for w in body[s.start : s.stop]] == body, (
        "they cover the text, in order"
    )
    for s in parsed.sentences:
        assert s.value_at is None or body[s.value_at] == str(s.value)
    return author.meant


@pytest.mark.parametrize(
    ("world", "documents"),
    [
        (CHAIN, 4_000),
        (NOVEL_OPERATOR, 500),
        (SWAPPED, 500),
        (SILENT, 500),
        (FORMS, 1_200),
        (TELLING, 1_200),
    ],
    ids=lambda value: value.name if isinstance(value, World) else None,
)
def test_documents_are_read_as_they_were_meant(world: World, documents: int) -> None:
    seen = [m for seed in range(documents) for m in round_trip(world, seed)]
    kinds = {m.kind for m in seen}
    assert kinds == set(world.onset_words), "every kind of sentence was written"
    assert {m.relation for m in seen} == {None, "establishes", "verifies", "revises", "concludes"}
    assert sum(m.correct is False for m in seen) > documents / 10, "slips were among them"


NUMBER = st.integers(0, 9)
EQUATION = st.tuples(NUMBER, st.sampled_from(OPERATORS), NUMBER)
STATEMENT = st.tuples(
    st.sampled_from(["step", "check", "backtrack", "other"]),
    st.integers(0, 4) | st.none(),
    EQUATION,
    NUMBER,
    st.booleans(),
)
IDLE = st.sampled_from(
    ["plan : 3 steps .", "hmm , maybe .", "wait for me , said mia .", "redo .", "so it was ."]
)
FIRST = {"step": "next", "check": "check", "backtrack": "wait", "other": "redo"}


@settings(max_examples=500, deadline=None)
@given(st.lists(STATEMENT | IDLE, max_size=12))
def test_any_order_of_right_and_wrong_statements_is_read_as_the_rules_say(
    text_words: list[tuple[str, int | None, tuple[int, str, int], int, bool] | str],
) -> None:
    """Texts that no author writes: values wrong anywhere, items out of order or unnamed, words that mark
    nothing."""
    text, wanted = [], []
    standing: dict[int, int] = {}
    equations: dict[int, str] = {}
    current: int | None = None
    checked: tuple[int, int] | None = None  # an item, and the other value found for the equation that stands
    for one in text_words:
        if isinstance(one, str):
            text.append(one)
            kind = {"plan": "plan", "hmm": "uncertain", "wait": "backtrack", "so": "conclude"}.get(
                one.split()[0], "other"
            )
            wanted.append(Meant(kind))
            continue
        kind, named, (left, operator, right), value, reads_back = one
        item = current if named is None else named
        written = f"{left} {operator} {right}"
        index = f"{INDEX_WORDS[named]} {operator} {right} :" if named is not None else ":"
        stands = None if item is None else standing.get(item)
        had = f", had {0 if stands is None else stands}" if reads_back else ""
        text.append(f"{FIRST[kind]} {index} {written} = {value} {had} .")
        relation = None
        if item is not None:
            announced = kind in ("step", "backtrack") or (checked is not None and checked[0] == item)
            relation = (
                "establishes" if stands is None else "verifies" if reads_back or not announced else "revises"
            )
        if relation == "establishes" and checked is not None and checked[0] != item and checked[1] == left:
            standing[checked[0]] = left
        if relation == "verifies" and written == equations[item or 0]:
            checked = (item or 0, value) if value != stands else None
        if relation in ("establishes", "revises"):
            assert item is not None
            current, standing[item], equations[item], checked = item, value, written, None
        correct = evaluate(left, operator, right) == value
        wanted.append(Meant(kind, item, value, correct, relation, stands, written))
    parsed = parse(rollout(" ".join([*text, "<eos>"]), problem=PROBLEM))
    assert [read(s) for s in parsed.sentences] == [*wanted, Meant("stop")]


def test_the_recorder_notes_what_it_says() -> None:
    """One document by hand: the notes above are not the parser's own."""
    author = Recorder(random.Random(0), Modes(slip=1.0, uncertain=0.0), CHAIN)
    words, value = author.write_step(1, 8, "+", 4, 1.0, 1.0)
    text_words = [word.text for word in words]
    slip = int(next(word.text for word in words if not word.learnt))
    assert text_words[0] == "next" and "check" in text_words and "wait" in text_words and value == 2 != slip
    assert author.meant == [
        Meant("step", 1, slip, False, "establishes", None, "8 + 4"),
        Meant("check", 1, 2, True, "verifies", slip, "8 + 4"),
        Meant("backtrack", 1, 2, True, "revises", slip, "8 + 4"),
    ]
