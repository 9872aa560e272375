"""A thinking model that gives ids other names than its base: whose names a hybrid writes, and masks find."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.causal.sweeps.configurations import Configuration
from reasonmech.errors import BindError, MismatchError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hosts.pair import THINK_TAGS
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover
from reasonmech.interventions import generated, inside, load_plan, steer, tokens
from reasonmech.interventions.axes import Direction
from reasonmech.interventions.masks import Where
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, Keep, as_read_by, capture, forward, generate
from reasonmech.testing import tiny_pair
from tests.unit.hosts.test_encode import KINDS, siblings

PROMPTS = [
    "Is it so? Answer: <think>",
    "x is 4. <think>",
    "Okay. <think>",
    "Wait <think> let me",
    "Is it 7? <think>",
    "Yes. <think>\n",
]
LAYOUTS = {"qwen2": 12, "llama2": 12, "gemma": 3}  # gain of `</think>`
V = Direction.along(torch.ones(32), "resid_post.0")


def closing(name: str) -> tuple[ModelPair, Hybrid, list[str]]:
    """A pair whose thinking model writes its `</think>`, a takeover of it, and prompts where it does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # rows of the tags are drawn
        pair = siblings(name)
    end = pair.thinking.tokenizer.convert_tokens_to_ids("</think>")
    with torch.no_grad():
        for host in (pair.base, pair.thinking):
            host.unembedding()[end] *= LAYOUTS[name]
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS)
    free = generate(pair.thinking, PROMPTS, decode=Decode(max_new_tokens=20), progress=False)
    prompts = [p for p, r in zip(PROMPTS, free, strict=True) if end in r.ids]
    assert prompts
    return pair, hybrid, prompts


def written(writer: Host | Hybrid, prompts: list[str], *stops: str) -> Rollouts:
    decode = Decode(max_new_tokens=20, stop_strings=stops)
    return generate(writer, prompts, decode=decode, progress=False)


def marked(host: Host, rollouts: Rollouts, where: Where) -> list[list[int]]:
    """Generated tokens of each rollout that a mask names, read through `capture`."""
    acts = capture(host, rollouts, "resid_post.0", keep=Keep(where=where & generated()), progress=False)
    at = acts.index
    start = [len(rollout.prompt_ids) for rollout in rollouts]
    rows = zip(at["rollout"], at["position"], strict=True)
    by_rollout: list[list[int]] = [[] for _ in rollouts]
    for rollout, position in rows:
        by_rollout[rollout].append(int(position) - start[rollout])
    return by_rollout


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_hybrid_writes_and_stops_in_the_thinking_models_names(name: str) -> None:
    pair, hybrid, prompts = closing(name)
    alone, taken = written(pair.thinking, prompts), written(hybrid, prompts)
    assert [r.text for r in taken] == [r.text for r in alone]
    assert all("</think>" in r.text and "box" not in r.text for r in taken)
    assert hybrid.tokenizer is pair.thinking.tokenizer
    alone, taken = written(pair.thinking, prompts, "</think>"), written(hybrid, prompts, "</think>")
    assert [(r.ids, r.stop) for r in taken] == [(r.ids, r.stop) for r in alone]
    assert {r.stop for r in taken} == {"token"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_marks_of_the_pair_name_the_same_tokens_to_both_models(name: str) -> None:
    pair, hybrid, prompts = closing(name)
    opening, end = (pair.thinking.tokenizer.get_vocab()[tag] for tag in THINK_TAGS)
    marks = (("<think>", opening), ("</think>", end))
    assert pair.think_tags == THINK_TAGS and pair.think_marks == marks
    alone, taken = written(pair.thinking, prompts), written(hybrid, prompts)
    expected = marked(pair.thinking, alone, inside(*THINK_TAGS))
    assert 0 < sum(map(len, expected)) < sum(len(r.ids) for r in alone)
    for host, rollouts in (
        (pair.thinking, alone),
        (pair.base, taken),
        (pair.base, as_read_by(pair.base, alone)),
    ):
        assert marked(host, rollouts, inside(*marks)) == expected
    ends = marked(pair.base, taken, tokens(marks[1]))
    assert ends == [[i for i, token in enumerate(r.ids) if token == end] for r in taken]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_word_that_the_writer_has_and_the_reader_does_not_is_refused(name: str) -> None:
    pair, hybrid, prompts = closing(name)
    taken, alone = written(hybrid, prompts), written(pair.thinking, prompts)
    end = pair.thinking.tokenizer.convert_tokens_to_ids("</think>")
    message = rf"(?s)'</think>'.*'base' reads.*token {end}, which it calls '<\|box_end\|>'.*think_marks"
    for where in (inside(*THINK_TAGS), ~tokens("</think>"), generated() | tokens(".", "</think>")):
        plan = [steer(V, 1.0, where=where)]
        with pytest.raises(MismatchError, match=message):
            forward(pair.base, taken, plan)
        with pytest.raises(MismatchError, match=message):
            capture(pair.base, taken, "resid_post.0", keep=Keep(where=where), progress=False)
        with pytest.raises(MismatchError, match=message):
            rm.sweep(
                pair.base,
                taken,
                Configuration("one", tuple(plan)),
                metric=rm.metrics.next_token_kl(pair.base, taken),
            )
        forward(pair.thinking, alone, plan)
    # a prompt in the writer's tokens, whose tag the reader calls otherwise
    with pytest.raises(MismatchError, match=r"(?s)prompt.*'<think>'.*as_read_by"):
        forward(pair.base, alone, [steer(V, 1.0, where=tokens("<think>"))])
    forward(pair.base, taken, [steer(V, 1.0, where=tokens("<think>"))])


def test_siblings_that_agree_have_plain_marks_and_plans_on_disk_keep_them() -> None:
    assert tiny_pair().think_marks == ("<think>", "</think>")
    pair = siblings()
    marks = pair.think_marks
    assert marks is not None
    plan = [steer(V, 1.0, where=inside(*marks))]
    assert rm.interventions.bind(plan, pair.base).original[0].where.to_json() == {
        "kind": "inside",
        "open": list(marks[0]),
        "close": list(marks[1]),
    }


def test_several_names_of_one_thing_are_read_from_a_plan_file(tmp_path: Path) -> None:
    plan = [
        steer(V, 1.0, where=inside(("<think>", 348), ("</think>", 349)) | tokens("w1", 7, (7, 8), ("w2", 9)))
    ]
    where = {
        "or": [
            {"kind": "inside", "open": ["<think>", 348], "close": ["</think>", 349]},
            {"kind": "tokens", "items": ["w1", 7, [7, 8], ["w2", 9]]},
        ]
    }
    entry = plan[0].to_json() | {"where": where}
    entry["axis"] = {"kind": "direction", "site": "resid_post.0", "vector": {"file": "v.safetensors"}}
    save_file({"v": V.vector}, tmp_path / "v.safetensors")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"plan": [entry]}))
    [read] = load_plan(tmp_path / "plan.yaml", tiny_pair().base)
    assert read.where == plan[0].where


@pytest.mark.parametrize(
    "item", [("<think>", ""), ("<think>", "<t>"), ("<think>", True), ("<think>", (3, 4)), ()]
)
def test_what_is_no_name_is_refused(item: tuple[object, ...]) -> None:
    with pytest.raises(BindError, match="names of one thing"):
        tokens(item)  # pyright: ignore[reportArgumentType]


def test_names_that_a_tokenizer_cannot_write_leave_the_others() -> None:
    host = tiny_pair().base
    [where] = rm.interventions.bind([steer(V, 1.0, where=tokens(("<nowhere>", 7)))], host).plan
    receipt = forward(host, [[6, 7, 8, 7]], [steer(V, 9.0, where=tokens(("<nowhere>", 7)))]).receipt
    assert receipt is not None and receipt.lines[0].n_masked == 2 and str(where.where)
