"""The letters world: problems, environment, parser and grader, over tokenizer layouts of real models."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.behaviours import behaviours
from reasonmech.errors import DataError
from reasonmech.rollout import OTHER, STOP, Rollouts
from reasonmech.tasks import grade, load_task, parse, tasks
from reasonmech.tasks.chain import chain_trace
from reasonmech.tasks.letters import WORLDS, Letters, LettersEnvironment, evaluate, make_problem, solution
from reasonmech.tasks.letters.grammar import allowed_values
from tests.layouts import REAL_TEXT, layout
from tests.unit.tasks.letters_text import CAREFUL, CARELESS, GUESS, PROBLEM, written

letters = Letters()
# layouts that can write what an environment writes
WRITABLE = [name for name in REAL_TEXT if name != "gpt2_prefix"]
ALWAYS, NEVER = LettersEnvironment(slip=1.0), LettersEnvironment(slip=0.0)
# what a model wants to say that checks: the read-backs are the environment's, and eat four or six tokens
CHECKING = " Now b is 4 + 3 = 7. Check: 4 + 3 = 7, I had 7. Now c is 7 - 2 = 5. So the answer is 5."


def test_problems_are_a_function_of_the_seed_and_splits_are_disjoint() -> None:
    prompts = {}
    for split in ("train", "tuning", "test", "confirmation"):
        first = load_task("letters", n=100, seed=3, split=split)
        assert [p.prompt for p in first] == [
            p.prompt for p in load_task("letters", n=100, seed=3, split=split)
        ]
        prompts[split] = {
            p.prompt for s in range(3) for p in load_task("letters", n=100, seed=s, split=split)
        }
    names = list(prompts)
    assert not any(prompts[a] & prompts[b] for i, a in enumerate(names) for b in names[i + 1 :])


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_values_stay_within_a_digit_whatever_slips(world) -> None:
    lengths = set()
    for problem in load_task(world.name, n=200, seed=1):
        operations = [(operator, operand) for operator, operand in problem.data["operations"]]
        values = solution(problem.data["start"], operations)
        assert all(0 <= value <= 9 for value in values) and problem.answer == str(values[-1])
        lengths.add(len(operations))
        for i in range(len(operations)):
            candidates = allowed_values(operations[i + 1 :])
            assert values[i] in candidates and len(candidates) >= 4
            assert all(0 <= v <= 9 for c in candidates for v in solution(c, operations[i + 1 :]))
    assert lengths == {2, 3, 4}


def test_a_prompt_reads_as_english() -> None:
    assert PROBLEM.prompt == "Q: a is 4. b is a plus 3. c is b minus 2. What is c?\nA:"
    assert (PROBLEM.answer, evaluate(3, "-", 5)) == ("5", -2)


@pytest.mark.parametrize("name", WRITABLE)
def test_slips_hit_steps_alone_and_read_backs_tell_of_them(name: str) -> None:
    rollout = written(CHECKING, layout(name), world=ALWAYS)
    trace = chain_trace(letters.parse(rollout))
    step, check, second = trace.sentences[:3]
    assert step.value not in (7, None) and step.correct is False and step.relation == "establishes"
    assert check.value == 7 and check.correct and check.contradicts, "a check never slips"
    assert f"I had {step.value}." in trace.text_of(check)
    assert second.value != 5 and second.equation == "7 - 2"
    by = "".join(p for p, b in zip(rollout.pieces, rollout.by_environment, strict=True) if b)
    assert by.replace(" ", "") == f"{step.value},Ihad{step.value}.{second.value}"
    assert "".join(rollout.pieces) == rollout.text


@pytest.mark.parametrize("name", WRITABLE)
def test_a_backtrack_never_slips_and_nothing_slips_where_the_probability_is_0(name: str) -> None:
    text = " Wait, b is 4 + 3 = 7. Now c is 7 - 2 = 5. So the answer is 5."
    rollout = written(text, layout(name), world=ALWAYS)
    values = [s.value for s in chain_trace(letters.parse(rollout)).sentences if s.value is not None]
    assert values[0] == 7 and values[1] != 5
    plain = written(text, layout(name), world=NEVER)
    assert not any(plain.by_environment) and text.lstrip() in plain.text
    assert [s.value for s in letters.parse(plain).sentences][:3] == [7, 5, 5]


def test_slips_are_those_of_the_problem_the_sample_and_the_letter() -> None:
    world = LettersEnvironment(slip=0.5)
    tokenizer = layout("gemma")
    texts = [written(CARELESS, tokenizer, world=world, sample=s).text for s in range(40)]
    assert texts == [written(CARELESS, tokenizer, world=world, sample=s).text for s in range(40)]
    assert len(set(texts)) > 5
    # another model that says more before it reaches c meets the same slip there
    for sample in range(20):
        short = written(" Now c is 7 - 2 = 5.", tokenizer, world=world, sample=sample, ended=False)
        long = written(
            " Hmm. Check: 1 + 1 = 2. Now c is 7 - 2 = 5.", tokenizer, world=world, sample=sample, ended=False
        )
        assert letters.parse(short).sentences[-1].value == letters.parse(long).sentences[-1].value


@pytest.mark.parametrize("name", REAL_TEXT)
def test_sentences_say_what_they_do_to_the_standing_value(name: str) -> None:
    trace = chain_trace(letters.parse(written(CAREFUL, layout(name))))
    told = [(s.kind, s.item, s.value, s.relation, s.contradicts) for s in trace.sentences]
    assert told == [
        ("step", 0, 2, "establishes", False),
        ("check", 0, 7, "verifies", True),
        ("backtrack", 0, 7, "revises", False),
        ("step", 1, 5, "establishes", False),
        ("check", 1, 5, "verifies", False),
        ("conclude", None, 5, "concludes", False),
        (STOP, None, None, None, False),
    ]
    for sentence in trace.sentences[:-1]:
        assert sentence.value_at is not None
        assert trace.words[sentence.value_at].strip() == str(sentence.value)
        assert sentence.start <= sentence.value_at < sentence.stop
    assert [s.stop for s in trace.sentences[:-1]] == [s.start for s in trace.sentences[1:]]
    assert trace.sentences[-1].stop == len(trace.rollout.ids)
    assert trace.text_of(trace.sentences[2]) == "Wait, b is 4 + 3 = 7."


def test_behaviours_of_the_chain_world_label_letters() -> None:
    trace = letters.parse(written(CAREFUL, layout("gemma")))
    onsets = {
        kind: [o.onset for o in behaviours.get(kind).opportunities(trace)] for kind in ("check", "backtrack")
    }
    assert onsets == {"check": [True, True], "backtrack": [True]}
    for kind, n in (("step", 2), ("check", 2), ("backtrack", 1), ("conclude", 1)):
        behaviour = behaviours.get(kind)
        spans = behaviour.spans(trace)
        assert len(spans) == n
        right = [behaviour.verify(trace, span) for span in spans]
        assert right == ([False, True] if kind == "step" else [True] * n), "b slipped"


@pytest.mark.parametrize("name", REAL_TEXT)
def test_grading_and_verification(name: str) -> None:
    tokenizer = layout(name)
    verdicts = {
        text: (letters.grade(r), letters.verified(letters.parse(r)), letters.reached(letters.parse(r)))
        for text in (CAREFUL, CARELESS, GUESS)
        for r in (written(text, tokenizer),)
    }
    assert verdicts == {
        CAREFUL: (True, True, True),
        CARELESS: (False, False, False),
        GUESS: (True, False, False),
    }
    cut_off = written(CAREFUL, tokenizer, ended=False)
    assert not letters.grade(cut_off)
    assert grade(Rollouts([written(GUESS, tokenizer)], task="letters")).tolist() == [True]


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("", "step"),
        (" Now b is 4 + 3 = 2.", "check"),
        (" Now b is 4 + 3 = 2. Check: 4 + 3 = 7, I had 2.", "backtrack"),
        (" Now b is 4 + 3 = 7. Check: 4 + 3 = 7, I had 7.", "step"),
        (" Now b is 4 + 3 = 2. Check: 4 + 3 = 7, I had 2. Wait, b is 4 + 3 = 7.", "step"),
    ],
)
def test_what_is_due_is_told_from_the_text_alone(text: str, due: str) -> None:
    rollout = written(text, layout("gemma"), ended=False)
    assert letters.due(replace(rollout, pieces=())) == due


def test_a_repair_without_a_word_is_seen() -> None:
    text = " Now b is 4 + 3 = 2. Check: 4 + 3 = 7, I had 2. Now c is 7 - 2 = 5. So the answer is 5."
    trace = chain_trace(letters.parse(written(text, layout("gemma"))))
    assert (trace.sentences[2].adopts, trace.sentences[2].adopted) == (0, 7)
    assert letters.verified(trace)


def test_a_text_that_says_something_else_is_read_all_the_same() -> None:
    text = " I think b is 4 + 3 = 7! And (b - 1) = x... Now c is 10 - 12 = -2. So nothing"
    trace = letters.parse(written(text, layout("qwen2")))
    assert [s.kind for s in trace.sentences][:2] == [OTHER, OTHER]
    assert trace.sentences[0].start == 0 and trace.sentences[-1].kind == STOP
    assert not letters.grade(trace.rollout)


def test_kinds_are_refused_where_the_tokenizer_has_no_word_for_them() -> None:
    with pytest.raises(DataError, match="Verify"):
        tasks.get("letters-forms").kinds(layout("qwen2"))
    # " 3" is one token and " 9" is two: a slip would write what the model could not
    with pytest.raises(DataError, match="digits 0, 1, 9"):
        letters.kinds(layout("gpt2_prefix"))
    with pytest.raises(DataError, match=r"which this tokenizer cannot.*\n.*\n.*'chain'"):
        letters.kinds(layout("words"))
    assert tasks.get("letters-forms").kinds(layout("smollm2")).names == letters.kinds(layout("smollm2")).names


def test_a_rollout_that_does_not_say_what_its_tokens_wrote_is_refused() -> None:
    with pytest.raises(DataError, match=r"rm\.generate"):
        letters.parse(replace(written(GUESS, layout("gemma")), pieces=()))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_texts_of_random_authors_are_read_back(seed: int) -> None:
    """A corpus document, written under an environment that never slips, is graded by its last value."""
    rng = random.Random(seed)
    operations = [(rng.choice("+-"), rng.randrange(1, 5)) for _ in range(rng.randrange(1, 5))]
    problem = make_problem(rng.randrange(10), operations, id="random")
    value, text = problem.data["start"], ""
    for letter, (operator, operand) in zip("bcde", operations, strict=False):
        after = evaluate(value, operator, operand)
        text += f" Now {letter} is {value} {operator} {operand} = {after}."
        value = after
    inside = all(0 <= v <= 9 for v in solution(problem.data["start"], operations))
    rollout = written(f"{text} So the answer is {value}.", layout("gemma"), problem=problem)
    if inside:
        assert letters.verified(letters.parse(rollout))


def test_rollouts_keep_what_their_tokens_wrote(tmp_path: Path) -> None:
    rollouts = Rollouts([written(CAREFUL, layout("llama2"))], task="letters")
    rollouts.save(tmp_path / "r.jsonl")
    assert Rollouts.load(tmp_path / "r.jsonl")[0] == rollouts[0]
    assert parse(Rollouts.load(tmp_path / "r.jsonl"))[0].sentences == parse(rollouts)[0].sentences
