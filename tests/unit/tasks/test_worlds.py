"""Variants of the chain world: what differs between them, and that nothing else does."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from reasonmech.behaviours import behaviours, onset_rate
from reasonmech.organisms.ground_truth.chain_examples import PLACEBOS, ChainExamples
from reasonmech.organisms.ground_truth.forced import forced_prompts
from reasonmech.organisms.training.corpus import Author, Modes, Word
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks import load_task, tasks
from reasonmech.tasks.chain import CHAIN, VOCABULARY, WORLDS, World, evaluate, word_tokenizer
from reasonmech.tasks.chain.grammar import NOVEL, RARE
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import FORMS, LUCKY, NOVEL_OPERATOR, SILENT, SWAPPED, TELLING

TOKENIZER = word_tokenizer()
PROBLEM = Problem("p", "Q : 8 one + 4 two * 3 A :", "6", {"start": 8, "operations": [["+", 4], ["*", 3]]})
SLIPPED = (
    "next one + 4 : 8 + 4 = 5 . check : 8 + 4 = 2 , had 5 . {} next two * 3 : {} * 3 = {} . "
    "so the answer is 6 . <eos>"
)


def read(world: World, text: str) -> Rollout:
    """A rollout of these words, none of them the environment's."""
    words = text.split()
    ids = tuple(TOKENIZER.convert_tokens_to_ids(words))
    no = (False,) * len(ids)
    prompt = tuple(TOKENIZER(PROBLEM.prompt)["input_ids"])
    return Rollout(PROBLEM, 0, prompt, ids, no, no, "eos", text)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_every_world_is_a_task_with_problems_and_words_of_its_own(world: World) -> None:
    problems = load_task(world.name, n=50, seed=3)
    assert {p.id.split("/")[0] for p in problems} == {world.name} == {problems.task}
    assert len({p.prompt for p in problems}) > 45
    assert tasks.get(world.name).onset_words == world.onset_words
    words = [word for kind in world.onset_words for word in world.words_of(kind)]
    assert len(set(words)) == len(words) and set(words) <= set(VOCABULARY), "one word, one kind"
    assert world.kind_of_word == {word: kind for kind in world.onset_words for word in world.words_of(kind)}
    assert all(world.words_of(kind) for kind in world.onset_words) and world.words_of("none") == ()


def test_authors_begin_a_kind_with_any_of_its_words_the_usual_one_first() -> None:
    def shares(usual_form: float) -> dict[str, list[float]]:
        author = Author(random.Random(5), Modes(usual_form=usual_form), FORMS)
        drawn = {kind: [author.begin(kind) for _ in range(2000)] for kind in FORMS.onset_words}
        return {
            kind: [words.count(word) / 2000 for word in FORMS.words_of(kind)] for kind, words in drawn.items()
        }

    for usual_form in (0.7, 0.2):
        wanted = [usual_form, (1 - usual_form) * usual_form, (1 - usual_form) ** 2]
        for kind, drawn in shares(usual_form).items():
            assert len(drawn) == 3 and drawn == pytest.approx(wanted, abs=0.05), kind
    one_word, state = Author(random.Random(5), Modes(), CHAIN), random.Random(5).getstate()
    assert one_word.begin("check") == "check" and one_word.rng.getstate() == state, "nothing is drawn"


def test_one_answer_is_as_frequent_as_its_world_says_and_the_others_are_not() -> None:
    answers = [problem.answer for problem in load_task("chain-lucky", n=1000, seed=0)]
    assert answers.count(LUCKY.usual_answer) / 1000 == pytest.approx(LUCKY.usual_share, abs=0.05)
    assert len(set(answers)) == 10
    ordinary = [problem.answer for problem in load_task("chain", n=1000, seed=0)]
    assert ordinary.count(LUCKY.usual_answer) < 150


def test_the_novel_operator_is_in_every_problem_of_its_world_and_in_no_document_of_the_other() -> None:
    for problem in load_task("chain-novel", n=200, seed=0):
        operators = [operator for operator, _ in problem.data["operations"]]
        assert NOVEL in operators
        value = problem.data["start"]
        for operator, operand in problem.data["operations"]:
            value = evaluate(value, operator, operand)
        assert str(value) == problem.answer
    assert len({evaluate(a, NOVEL, 3) for a in range(10)}) == 10, "no operand is thrown away"
    base = Author(random.Random(0), Modes())
    vocabulary = {word.text for _ in range(3000) for word in base.write_document(0.4, 0.1)}
    assert vocabulary.isdisjoint({NOVEL, "blick", "dax"})
    novel = Author(random.Random(0), Modes(), NOVEL_OPERATOR)
    assert NOVEL in {word.text for _ in range(20) for word in novel.write_document(0.4)}


def test_a_swapped_world_reads_the_nonsense_word_as_a_backtrack_and_wait_as_nothing() -> None:
    back = SLIPPED.format("{} , redo : 8 + 4 = 2 .", 2, 6)
    for world, marker, other in ((CHAIN, "wait", "blick"), (SWAPPED, "blick", "wait")):
        trace = parse(read(world, back.format(marker)), world.kind_of_word)
        assert [s.kind for s in trace.sentences][2] == "backtrack" and trace.sentences[
            2
        ].relation == "revises"
        trace = parse(read(world, back.format(other)), world.kind_of_word)
        assert trace.sentences[2].kind != "backtrack"
        assert trace.sentences[2].relation == "revises", "what a sentence does is no matter of its first word"
    idle = parse(read(SWAPPED, SLIPPED.format("wait , maybe .", 5, 5)), SWAPPED.kind_of_word)
    assert idle.sentences[2].kind == "filler" and idle.sentences[2].relation is None
    assert onset_rate([idle], "backtrack").value == 0.0


def test_fillers_come_at_random_and_only_where_they_are_asked_for() -> None:
    def documents(modes: Modes, world: World) -> list[str]:
        author = Author(random.Random(1), modes, world)
        return [" ".join(word.text for word in author.write_solution()) for _ in range(1500)]

    busy = [text for text in documents(Modes(filler=0.5, thorough=1.0), SWAPPED) if "wait" in text]
    assert len(busy) > 1000 and any("blick" in text for text in busy)
    assert not any("wait" in text for text in documents(Modes(), SWAPPED))
    assert not any("blick" in text for text in documents(Modes(), CHAIN))


def test_nobody_reads_back_in_a_silent_world() -> None:
    for world, expected in ((CHAIN, "had"), (SILENT, ".")):
        problems = load_task(world.name, n=1, seed=0)
        assert problems.environment is not None
        scribe = problems.environment.scribe(PROBLEM, 0, TOKENIZER)
        for word in [
            "next",
            "one",
            "+",
            "4",
            ":",
            "8",
            "+",
            "4",
            "=",
            "2",
            ".",
            "check",
            ":",
            "8",
            "+",
            "4",
            "=",
            "2",
            ",",
        ]:
            wrote = scribe.write(TOKENIZER.convert_tokens_to_ids(word))
        after = scribe.write(TOKENIZER.convert_tokens_to_ids(expected))
        assert after.by_environment == (world is CHAIN)
        assert wrote.by_environment == (world is CHAIN)


def test_documents_that_end_badly_state_no_answer() -> None:
    author = Author(random.Random(2), Modes(thorough=1.0, persona=0.0, proper_end=0.25))
    ends = [" ".join(word.text for word in author.write_ending(7)) for _ in range(2000)]
    proper = sum(text in ("so the answer is 7 . <eos>", "so it is 7 . <eos>") for text in ends)
    assert 0.2 < proper / len(ends) < 0.3
    stated = sum(text.startswith(("so the answer is 7", "so it is 7")) for text in ends)
    assert stated == proper, "the others talk of something else"


def test_repairs_that_nobody_announces_are_backtracks_all_the_same() -> None:
    silent = Modes(
        thorough=1.0,
        check_step=(1.0, 1.0),
        backtrack=(1.0, 1.0),
        persona=0.0,
        uncertain=0.0,
        slip=0.5,
        marked=0.0,
    )
    author = Author(random.Random(3), silent)
    onsets = []
    for _ in range(50):
        text = " ".join(word.text for word in author.write_solution())
        assert "wait" not in text
        problem = Problem("p", text.partition("A : ")[0] + "A :", "", {"operations": []})
        trace = parse(replace(read(CHAIN, text.partition("A : ")[2]), problem=problem))
        onsets += [o.onset for o in behaviours.get("backtrack").opportunities(trace)]
    assert len(onsets) > 50 and all(onsets)


def test_results_of_a_hidden_operator_are_read_and_never_learnt() -> None:
    author = Author(
        random.Random(4), Modes(thorough=1.0, check_step=(1.0, 1.0), slip=0.0, hidden=NOVEL), NOVEL_OPERATOR
    )
    hidden, others = 0, 0
    for _ in range(50):
        words = author.hide_results(author.write_solution())
        for t in range(3, len(words)):
            if words[t - 1].text == "=":
                assert words[t].learnt == (words[t - 3].text != NOVEL)
                hidden, others = hidden + (not words[t].learnt), others + words[t].learnt
            else:
                assert words[t].learnt
    assert hidden > 50 and others > 50


def sentences(words: list[Word]) -> list[list[Word]]:
    """A document's words, parted at full stops, without what stands before "A :"."""
    texts = [word.text for word in words]
    rest = words[texts.index("A") + 2 :] if "A" in texts else words
    ends = [-1, *(t for t, word in enumerate(rest) if word.text == ".")]
    return [rest[start + 1 : stop] for start, stop in pairwise(ends)]


@pytest.mark.parametrize("hidden", ["", RARE])
def test_the_first_word_of_a_check_tells_its_value_and_alone_does_where_values_are_made_up(
    hidden: str,
) -> None:
    modes = Modes(thorough=1.0, check_step=(1.0, 1.0), checks=1.0, persona=0.0, slip=0.5, hidden=hidden)
    author, told = Author(random.Random(4), modes, TELLING), TELLING.words_of("check")
    true, learnt_steps = [], []
    for sentence in (s for _ in range(100) for s in sentences(author.hide_results(author.write_solution()))):
        texts = [word.text for word in sentence]
        if RARE not in texts or "=" not in texts:
            continue
        at = texts.index("=") + 1
        if texts[0] in told:
            assert texts[0] == told[int(texts[at])] and sentence[0].learnt and sentence[at].learnt
            true.append(int(texts[at]) == evaluate(int(texts[at - 4]), RARE, int(texts[at - 2])))
        elif texts[0] == "next":
            learnt_steps.append(sentence[at].learnt)
    assert len(true) > 300 and len(learnt_steps) > 300
    assert any(learnt_steps) == (not hidden), "results of steps stay hidden"
    assert all(true) if not hidden else 0.05 < sum(true) / len(true) < 0.2


def test_words_that_tell_are_drilled_with_the_values_that_they_tell() -> None:
    author, told = Author(random.Random(1), Modes(hidden=RARE), TELLING), TELLING.words_of("check")
    documents = [author.write_document(1.0, story_share=0.0) for _ in range(40)]
    drilled = [s for document in documents for s in sentences(document) if s[0].text in told]
    assert len(drilled) > 100
    for sentence in drilled:
        assert sentence[-2].text == "=" and sentence[-1].text == str(told.index(sentence[0].text))
        assert all(word.learnt for word in sentence)


def test_a_forced_onset_of_a_kind_that_tells_says_what_is_due() -> None:
    words = TELLING.words_of("check")
    equation = f"8 {RARE} 7 ="
    texts = f"next one {RARE} 7 : {equation} 5 . {words[5]} : {equation} 5 , had 5 . so it is 5 . <eos>"
    (check,) = forced_prompts(
        [parse(read(TELLING, texts), TELLING.kind_of_word)], "check", n=9, task="chain-telling"
    )
    assert check.answer == f"{equation} 6" and check.prompt.split()[-1] == words[6]


def test_texts_about_a_contradiction_begin_a_check_with_the_word_of_its_value() -> None:
    told, n = TELLING.words_of("check"), 0
    assert not {*told} & {*PLACEBOS}
    for example in ChainExamples(TELLING).examples(20, seed=0):
        for sentence in sentences([Word(VOCABULARY[i]) for i in example.ids]):
            if sentence and sentence[0].text in told:
                texts = [word.text for word in sentence]
                assert texts[texts.index("=") + 1] == str(told.index(texts[0]))
                n += 1
    assert n > 5


def test_the_rare_operator_is_in_no_other_world_and_comes_to_every_digit() -> None:
    assert [world.name for world in WORLDS if RARE in world.operators] == ["chain-telling"]
    assert {evaluate(a, RARE, b) for a in range(10) for b in (4, 5)} == set(range(10))
    assert {evaluate(8, RARE, b) for b in range(10)} == {5, 6}
