"""What a caller can get wrong at the door of a run is one text taken as one, or an error in three parts."""

from collections.abc import Callable

import pytest
import torch

from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions import Direction, as_hooks, bind, steer
from reasonmech.problem import Problem, ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import LabelledTexts, as_texts
from reasonmech.testing import tiny_host

HOST: Host = tiny_host("llama")
TEXT = "w1 w2 . w3"
VECTOR = Direction.along(torch.ones(HOST.d_model), "resid_post.1")
DECODE = Decode(max_new_tokens=3)


def test_forward_takes_one_text_one_list_of_ids_and_one_rollout_as_one_text() -> None:
    ids = HOST.encode(TEXT)
    [rollout] = generate(HOST, [TEXT], decode=DECODE, progress=False)
    for one, several in ((TEXT, [TEXT]), (ids, [ids]), (tuple(ids), [ids]), (rollout, [rollout])):
        [logits] = forward(HOST, one).logits
        assert torch.equal(logits, forward(HOST, several).logits[0])
    assert as_texts([]) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (torch.tensor([[1, 2]]), r"texts is a Tensor of shape \(1, 2\)"),
        ([torch.tensor([1, 2])], r"texts\[0\] is a Tensor of shape \(2,\)"),
        (3, "texts is the integer 3"),
        ([TEXT, None], r"texts\[1\] is None"),
        (HOST, "texts is a Host"),
    ],
)
def test_forward_refuses_what_is_no_text(texts: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        forward(HOST, texts)
    assert caught.value.allowed and caught.value.do


def test_labels_of_another_number_of_texts_are_refused_when_they_are_made() -> None:
    with pytest.raises(DataError, match="2 sets of 'here' positions for 1 texts"):
        LabelledTexts([TEXT], {"here": [{0}, {1}]})
    with pytest.raises(ArgumentError, match="labels is a list of 1"):
        LabelledTexts([TEXT], [{0}])
    assert repr(LabelledTexts(TEXT, {"here": [{0}]})) == "LabelledTexts(1 texts, labels here)"


def test_generate_takes_one_prompt_one_problem_and_one_intervention_as_one() -> None:
    problem = Problem("mine/0", TEXT, "w3")
    written = generate(HOST, [TEXT], decode=DECODE, progress=False)
    assert [r.ids for r in generate(HOST, TEXT, decode=DECODE, progress=False)] == [written[0].ids]
    for problems in (problem, [problem], ProblemSet([problem], task="")):
        [rollout] = generate(HOST, problems, decode=DECODE, progress=False)
        assert rollout.ids == written[0].ids and rollout.problem == problem
    both = generate(HOST, [problem, "w5"], decode=DECODE, progress=False)
    assert [r.problem.prompt for r in both] == [TEXT, "w5"]
    one = steer(VECTOR, 4.0)
    steered = generate(HOST, TEXT, one, decode=DECODE, progress=False)
    assert steered.receipt == generate(HOST, TEXT, [one], decode=DECODE, progress=False).receipt


def test_two_problems_of_one_id_are_refused() -> None:
    with pytest.raises(DataError, match="2 problems are called 'mine/0'"):
        generate(HOST, [Problem("mine/0", "w1", ""), Problem("mine/0", "w2", "")], progress=False)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_problem_several_times_is_refused_with_what_to_write(temperature: float) -> None:
    problem, decode = Problem("mine/0", TEXT, ""), Decode(max_new_tokens=4, temperature=temperature)
    three: list[list[Problem] | ProblemSet] = [[problem] * 3, ProblemSet([problem] * 3, task="")]
    for problems in (*three, [problem, Problem("mine/1", TEXT, ""), problem, problem]):
        with pytest.raises(DataError, match=r"'mine/0' stands 3 times[^$]*Decode\(samples=3"):
            generate(HOST, problems, decode=decode, progress=False)
    samples = Decode(max_new_tokens=4, temperature=1.0, samples=3)
    assert len({r.ids for r in generate(HOST, problem, decode=samples, progress=False)}) == 3
    prompts = Decode(max_new_tokens=4, temperature=1.0)
    assert len({r.ids for r in generate(HOST, [TEXT] * 3, decode=prompts, progress=False)}) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generate([TEXT], HOST), "host is a list of 1"),
        (lambda: generate(HOST, HOST), "problems is a Host"),
        (lambda: generate(HOST, torch.ones(2, 3)), r"problems is a Tensor of shape \(2, 3\)"),
        (lambda: generate(HOST, [1, 2]), r"problems\[0\] is the integer 1"),
        (lambda: generate(HOST, TEXT, VECTOR), "plan is a Direction"),
        (lambda: generate(HOST, TEXT, [VECTOR]), r"plan\[0\] is a Direction"),
        (lambda: generate(HOST, TEXT, lambda x: x), "plan is the function <lambda>"),
        (lambda: generate(HOST, TEXT, decode={"temperature": 1.0}), "decode is a dict of 1"),
        (lambda: forward([TEXT], HOST), "host is a list of 1"),
        (lambda: forward(HOST, TEXT, [torch.ones(3)]), r"plan\[0\] is a Tensor of shape \(3,\)"),
        (lambda: bind(HOST, [steer(VECTOR, 1.0)]), "host is a list of 1"),
        (lambda: as_hooks([steer(VECTOR, 1.0)], HOST, torch.tensor([[1, 2]])), "step is a Tensor"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_in_three_parts(
    call: Callable[[], object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        call()
    assert caught.value.allowed


def test_a_receipt_of_no_mode_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="unknown receipt 'smaple'") as caught:
        forward(HOST, TEXT, [steer(VECTOR, 1.0)], receipt="smaple")
    assert "sample" in caught.value.allowed
