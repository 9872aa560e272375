"""Splicing equals a loop of ten lines: decisions by one model, every other token by the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.organisms.ground_truth.dial import Dial
from reasonmech.organisms.ground_truth.forced import (
    forced_execution,
    forced_prompts,
    forced_rates,
)
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import load_task
from reasonmech.tasks.chain import Chain
from reasonmech.tasks.chain.grammar import EOS, ONSET_WORDS
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import FORMS
from tests.chain_models import random_pair
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, rollout, trace

DECODE = Decode(max_new_tokens=20, batch_size=4)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return random_pair()


@torch.no_grad()
def slow(pair: ModelPair, prompt: str) -> list[int]:
    """Thinking decides, base writes; no environment."""
    vocabulary = pair.base.tokenizer.get_vocab()
    kinds = torch.tensor([vocabulary[word] for word in (*ONSET_WORDS.values(), EOS)])
    ids = pair.base.encode(prompt)
    begin, boundary = len(ids), True
    for _ in range(20):
        logits = (pair.thinking if boundary else pair.base).model(torch.tensor([ids])).logits[0, -1]
        ids.append(int(kinds[logits[kinds].argmax()] if boundary else logits.argmax()))
        boundary = ids[-1] == vocabulary["."]
        if ids[-1] == vocabulary[EOS]:
            break
    return ids[begin:]


def test_spliced_text_equals_the_slow_loop(pair: ModelPair) -> None:
    prompts = [p.prompt for p in load_task("chain", n=4, seed=0)] + ["Q : 1 A : so it is 4 .", "mia said ."]
    spliced = generate(
        splice(onset=pair.thinking, executor=pair.base), prompts, decode=DECODE, progress=False
    )
    free = generate(pair.base, prompts, decode=DECODE, progress=False)
    assert [r.ids for r in spliced] != [r.ids for r in free], "a decision was taken over"
    assert [list(r.ids) for r in spliced] == [slow(pair, prompt) for prompt in prompts]


@torch.no_grad()
def slow_by_kinds(pair: ModelPair, prompt: str) -> list[int]:
    """Thinking decides between kinds by the sum over their words, base writes every word; no environment."""
    vocabulary = pair.base.tokenizer.get_vocab()
    words = [[vocabulary[w] for w in FORMS.words_of(kind)] for kind in FORMS.onset_words] + [
        [vocabulary[EOS]]
    ]
    ids = pair.base.encode(prompt)
    begin, boundary = len(ids), True
    for _ in range(20):
        base, thinking = (
            host.model(torch.tensor([ids])).logits[0, -1] for host in (pair.base, pair.thinking)
        )
        kind = max(words, key=lambda of_kind: float(thinking.softmax(-1)[of_kind].sum()))
        ids.append(max(kind, key=lambda word: float(base[word])) if boundary else int(base.argmax()))
        boundary = ids[-1] == vocabulary["."]
        if ids[-1] == vocabulary[EOS]:
            break
    return ids[begin:]


def test_with_several_words_per_kind_the_kind_is_decided_and_the_executor_says_it(pair: ModelPair) -> None:
    prompts = [p.prompt for p in load_task("chain-forms", n=8, seed=0)] + ["mia said .", "tom saw a dog ."]
    by_kinds = splice(onset=pair.thinking, executor=pair.base, task="chain-forms")
    spliced = [list(r.ids) for r in generate(by_kinds, prompts, decode=DECODE, progress=False)]
    assert spliced == [slow_by_kinds(pair, prompt) for prompt in prompts]
    by_tokens = splice(onset=pair.thinking, executor=pair.thinking, task="chain-forms")
    free = [list(r.ids) for r in generate(by_tokens, prompts, decode=DECODE, progress=False)]
    kind_of = {pair.base.tokenizer.get_vocab()[word]: kind for word, kind in FORMS.kind_of_word.items()}
    kinds_of_first = [[kind_of.get(ids[0]) for ids in texts] for texts in (spliced, free)]
    assert kinds_of_first[0] == kinds_of_first[1], "the onset's kind is the same whoever writes"
    assert [ids[0] for ids in spliced] != [ids[0] for ids in free], "and its word is the executor's"


def test_forced_onsets_take_turns_among_the_words_of_a_kind() -> None:
    careful = (
        CAREFUL.replace("check again", "sure again").replace("wait", "redo").replace("next two", "and two")
    )
    traces = [parse(rollout(careful), FORMS.kind_of_word)] * 3
    checks = forced_prompts(traces, "check", n=100, task="chain-forms")
    last = [problem.prompt.split()[-1] for problem in checks]
    assert {word: last.count(word) for word in FORMS.words_of("check")} == {"check": 3, "again": 3, "sure": 3}
    texts = {}
    for problem in checks:
        assert texts.setdefault(problem.id, problem.prompt) == problem.prompt, "one id, one text"
    one = forced_prompts([trace(CAREFUL)], "check", n=100)
    assert {problem.prompt.split()[-1] for problem in one} == {"check"}


def test_a_model_spliced_with_itself_only_has_its_decisions_restricted(pair: ModelPair) -> None:
    prompts = [p.prompt for p in load_task("chain", n=8, seed=0)]
    both = generate(splice(onset=pair.base, executor=pair.base), prompts, decode=DECODE, progress=False)
    names = {pair.base.tokenizer.get_vocab()[w] for w in (*ONSET_WORDS.values(), EOS)}
    assert all(r.ids[0] in names for r in both)


def test_forced_prompts_end_in_the_onset_word_and_expect_the_standing_equation() -> None:
    checks = forced_prompts([trace(CAREFUL), trace(CARELESS)], "check", n=100)
    assert all(p.prompt.endswith(" check") for p in checks)
    answers = sorted(p.answer for p in checks)
    assert answers.count("8 + 4 = 2") == 2, "both texts, first operation"
    assert "5 * 3 = 5" in answers and "2 * 3 = 6" in answers, "the equation as it was written"
    backs = forced_prompts([trace(CAREFUL)], "backtrack", n=100)
    assert [p.answer for p in backs] == ["8 + 4 = 2"] and backs[0].prompt.endswith("had 5 . wait")
    with pytest.raises(DataError, match="no opportunity"):
        forced_prompts([trace(GUESS)], "check", n=1)


def test_first_equation_is_the_first_complete_one_or_none() -> None:
    assert Chain().first_equation("again , 8 + 4 = 2 , had 5 .") == "8 + 4 = 2"
    assert Chain().first_equation("again , 8 + 4") is None


def test_a_random_model_executes_no_forced_check_reliably(pair: ModelPair) -> None:
    texts = [trace(CAREFUL)]
    prompts = forced_prompts(texts, "check", n=10)
    rate = forced_execution(pair.base, prompts)
    assert rate.n == 3 and rate.hits < 3
    assert forced_rates(pair.base, prompts) == {texts[0].rollout.problem.id: rate}, "all of one problem"


def test_a_splices_rollouts_name_its_two_models(pair: ModelPair, tmp_path: Path) -> None:
    problems, decode = load_task("chain", n=2), Decode(max_new_tokens=8)
    base, thinking = repr(pair.base.name), repr(pair.thinking.name)
    half = Dial(pair.base, pair.thinking, 0.5)
    for onset, executor, writer in (
        (pair.thinking, pair.base, f"onset {thinking}, executor {base}"),
        (pair.base, pair.thinking, f"onset {base}, executor {thinking}"),
        (half, pair.base, f"onset {base} and 0.5 {thinking}, executor {base}"),
    ):
        spliced = generate(splice(onset=onset, executor=executor), problems, decode=decode, progress=False)
        assert spliced.writer == writer == spliced[:1].writer and writer in repr(spliced)
        spliced.save(tmp_path / "spliced.jsonl", overwrite=True)
        assert Rollouts.load(tmp_path / "spliced.jsonl").writer == writer
    free = generate(pair.base, problems, decode=decode, progress=False)
    free.save(tmp_path / "free.jsonl")  # as it was before there was a writer
    head = json.loads((tmp_path / "free.jsonl").read_text().splitlines()[0])
    assert free.writer == Rollouts.load(tmp_path / "free.jsonl").writer == "" and "writer" not in head


def test_a_splice_follows_ends_that_are_changed_in_hand() -> None:
    """Ends of text are read when it writes, as those of a host are."""
    pair = random_pair()
    problems, decode = load_task("chain", n=4), Decode(max_new_tokens=24)
    earlier = splice(onset=pair.thinking, executor=pair.base)
    before = generate(earlier, problems, decode=decode, progress=False)
    end = before[0].ids[5]
    for host in (pair.base, pair.thinking):
        host.model.generation_config.eos_token_id = [1, end]  # pyright: ignore
    later = splice(onset=pair.thinking, executor=pair.base)
    written = [
        [r.ids for r in generate(decoder, problems, decode=decode, progress=False)]
        for decoder in (earlier, later)
    ]
    assert written[0] == written[1] != [r.ids for r in before]
    assert repr(earlier.kinds) == repr(later.kinds)
