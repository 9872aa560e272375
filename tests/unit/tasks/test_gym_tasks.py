"""Problems of reasoning-gym: their own scorers decide."""

from dataclasses import replace

import pytest

import reasonmech as rm
import reasonmech.tasks.questions.gym_task as gym_task
from reasonmech.errors import ConfigError, DataError, MismatchError, UnknownNameError
from reasonmech.runtime import Rollouts
from reasonmech.tasks import outcomes, tasks
from tests.unit.tasks.test_question_files import record_of
from tests.unit.tasks.text_rollouts import outcomes_of, rolled

pytest.importorskip("reasoning_gym")
SUMS = "reasoning_gym:chain_sum"


def answered(problem, text):
    return replace(rolled(text, problem.answer), problem=problem)


def test_problems_are_the_same_for_a_seed_and_disjoint_between_splits():
    once, again, other = (rm.load_task(SUMS, n=20, seed=seed) for seed in (0, 0, 1))
    assert once.problems == again.problems
    assert not {p.id for p in once} & {p.id for p in other}
    train = rm.load_task(SUMS, n=20, split="train")
    assert len({p.id for p in [*once, *train]}) == 40


def test_its_own_scorer_decides():
    problems = rm.load_task(SUMS, n=3)
    right = [answered(p, f"The answer is {p.answer}.") for p in problems]
    wrong = [answered(p, f"The answer is {p.answer}1.") for p in problems]
    rollouts = Rollouts([*right, *wrong, answered(problems[0], "")], task=SUMS)
    assert outcomes(rollouts).each == ("right",) * 3 + ("wrong",) * 3 + ("unparsed",)
    assert rm.grade(rollouts).tolist() == [True] * 3 + [False] * 4


def test_the_threshold_is_explicit():
    problem = rm.load_task(SUMS, n=1)[0]
    partly = answered(problem, f"<answer>about {problem.answer}</answer>")  # this scorer gives a part for it
    assert outcomes_of(SUMS, partly) == ["wrong"]
    assert outcomes_of(SUMS + "?threshold=0.1", partly) == ["right"]
    assert ">= 0.1" in record_of(SUMS + "?threshold=0.1")["grading"]
    with pytest.raises(ConfigError, match="threshold=2"):
        tasks.get(SUMS + "?threshold=2")


def test_problems_with_many_answers_are_scored():
    name = "reasoning_gym:graph_color"
    problem = rm.load_task(name, n=1)[0]
    assert problem.answer == ""
    assert outcomes_of(name, answered(problem, "<answer>{}</answer>")) == ["wrong"]


def test_settings_are_the_generators_own():
    problem = rm.load_task(f"{SUMS}?min_terms=2&max_terms=2&max_digits=1", n=1)[0]
    assert problem.data["metadata"]["num_terms"] == 2
    with pytest.raises(UnknownNameError, match="did you mean 'max_terms'"):
        tasks.get(f"{SUMS}?max_term=2")
    with pytest.raises(ConfigError, match="refuses its settings"):
        tasks.get(f"{SUMS}?max_terms=-2")
    with pytest.raises(ConfigError, match="composite"):
        tasks.get("reasoning_gym:composite")


def test_too_few_different_problems():
    with pytest.raises(DataError, match="different ones"):
        rm.load_task(f"{SUMS}?min_terms=2&max_terms=2&max_digits=1&allow_negation=false", n=60)


def test_another_version_of_the_generator_is_noticed():
    problem = rm.load_task(SUMS, n=1)[0]
    other = replace(problem, data={**problem.data, "question": "1 + 1 ="})
    with pytest.raises(MismatchError, match="makes another problem"):
        outcomes_of(SUMS, answered(other, "5"))


def test_an_unknown_generator_and_a_package_that_is_missing(monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'chain_sum'"):
        tasks.get("reasoning_gym:chain_sums")
    with pytest.raises(UnknownNameError, match="generator"):
        tasks.get("reasoning_gym")
    monkeypatch.setattr(gym_task, "find_spec", lambda name: None)
    gym_task._generators.cache_clear()
    gym_task.gym_task.cache_clear()
    with pytest.raises(MismatchError, match="not installed") as caught:
        tasks.get(SUMS)
    assert caught.value.do == "pip install 'reasonmech[reasoning-gym]'"
    gym_task._generators.cache_clear()
