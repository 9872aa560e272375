"""Rollouts say who wrote them, whatever kind of decoder that was; ends of text are read when it writes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech.claims.measuring.leak import FirstTokens
from reasonmech.claims.measuring.relay import Relay
from reasonmech.hybrid import (
    DisagreementGate,
    Hybrid,
    KeptGoing,
    OfThinking,
    PowerConfig,
    PowerSampled,
    Prompted,
    Sharpened,
    Takeover,
)
from reasonmech.hybrid.gates import KindGate
from reasonmech.kinds import Openings
from reasonmech.organisms import splice
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decoder import Decoder, NamedWriter
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.tasks import tasks
from tests.chain_models import random_pair

PROBLEMS = rm.load_task("chain", n=3)
DECODE = rm.Decode(max_new_tokens=12)
BARE = {"HostDecoder", "StaticDecoder", "Watched"}  # a host, under a plan that its receipt tells or none
INSIDE = {"_Redrawn"}  # a draw of PowerSampled, whose texts are judged before they are anybody's


def kinds(pair: rm.ModelPair):
    return tasks.get("chain").kinds(pair.thinking.tokenizer)


def hybrid(pair: rm.ModelPair, gate=None) -> Hybrid:
    return Hybrid(pair, gate=gate or DisagreementGate(), selector=OfThinking(), executor=Takeover())


def relay(pair: rm.ModelPair) -> Relay:
    first, second = HostDecoder.of(pair.base), HostDecoder.of(pair.thinking)
    return Relay(first, second, lambda rows: FirstTokens(kinds(pair), len(rows), 1), rule="at first tokens")


def kept_going(pair: rm.ModelPair) -> KeptGoing:
    lengths = {(problem.id, 0): 9 for problem in PROBLEMS}
    answer = (kinds(pair).names.index("conclude"),)
    return KeptGoing(pair.base, kinds(pair), lengths, answer)


MADE: dict[str, tuple[Callable[[rm.ModelPair], object], str]] = {
    "Hybrid": (hybrid, "'base' steered beside 'thinking' by DisagreementGate, OfThinking, Takeover"),
    "Relay": (relay, "['base'], and at first tokens ['thinking']"),
    "SplicedDecoder": (
        lambda pair: splice(onset=pair.thinking, executor=pair.base),
        "onset 'thinking', executor 'base'",
    ),
    "Prompted": (
        lambda pair: Prompted(pair.base, "careful {problem}"),
        "'base' behind the prompt 'careful {problem}'",
    ),
    "Sharpened": (lambda pair: Sharpened(pair.base, 0.25), "'base' sharpened to temperature 0.25"),
    "KeptGoing": (kept_going, "'base' kept going to the lengths of 3 texts"),
    "PowerSampled": (
        lambda pair: PowerSampled(pair.base, PowerConfig(blocks=2, moves=1)),
        "'base', power sampled with alpha 4",
    ),
}


def write(decoder: object, decode: rm.Decode = DECODE) -> Rollouts:
    if isinstance(decoder, PowerSampled):
        return decoder.write(PROBLEMS, decode, progress=False).rollouts
    return rm.generate(decoder, PROBLEMS, decode=decode, progress=False)  # pyright: ignore


@pytest.mark.parametrize("name", MADE)
def test_rollouts_name_their_writer_in_hand_and_in_their_file(name: str, tmp_path: Path) -> None:
    make, writer = MADE[name]
    decoder = make(random_pair())
    assert type(decoder).__name__ == name
    rollouts = write(decoder)
    assert rollouts.writer == writer == rollouts[:1].writer and writer in repr(rollouts)
    rollouts.save(tmp_path / "written.jsonl")
    assert Rollouts.load(tmp_path / "written.jsonl").writer == writer


def test_the_decoders_of_a_relay_are_named_by_what_they_are() -> None:
    pair = random_pair()
    first, second = (splice(onset=host, executor=pair.base) for host in (pair.base, pair.thinking))
    both = Relay(first, second, lambda rows: FirstTokens(kinds(pair), len(rows), 1), rule="now and then")
    assert both.writer == f"[{first.writer}], and now and then [{second.writer}]"


def test_every_kind_of_decoder_is_among_these() -> None:
    """A new one has to say who writes, or that it is a host under a plan."""
    members = ("readers", "tokenizer", "eos_ids", "pad_id", "device", "start")
    decoders = {
        name
        for module in pkgutil.walk_packages(rm.__path__, "reasonmech.")
        if not module.name.endswith("__main__")
        for name, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if value.__module__.startswith("reasonmech.") and not inspect.isabstract(value)
        if all(hasattr(value, member) for member in members)
    }
    assert (
        decoders - {"Decoder", "_Unsteered", "_Anything"} == (MADE.keys() - {"PowerSampled"}) | BARE | INSIDE
    )
    assert not isinstance(HostDecoder.of(random_pair().base), NamedWriter)


@pytest.mark.parametrize("make", [make for make, _ in MADE.values()], ids=MADE)
def test_a_decoder_that_was_made_earlier_follows_ends_that_are_changed_in_hand(make) -> None:
    pair, decode = random_pair(), rm.Decode(max_new_tokens=24)
    earlier = make(pair)
    before = [r.ids for r in write(earlier, decode)]
    end = before[0][5]
    for host in (pair.base, pair.thinking):
        host.model.generation_config.eos_token_id = [1, end]  # pyright: ignore
    written = [[r.ids for r in write(decoder, decode)] for decoder in (earlier, make(pair))]
    assert written[0] == written[1] != before
    if isinstance(earlier, Decoder):
        assert end in earlier.eos_ids


def test_a_hybrid_tells_its_gate_the_ends_when_it_writes() -> None:
    told = []

    class Told(DisagreementGate):
        def with_ends(self, ends):
            told.append(tuple(ends))
            return self

    pair = random_pair()
    made = hybrid(pair, Told())
    write(made)
    pair.base.model.generation_config.eos_token_id = [1, 7]  # pyright: ignore
    write(made)
    assert told == [(1,), (1, 7)]


def test_a_gate_by_kinds_takes_the_ends_that_are_there_and_no_others() -> None:
    """A probability of the end is that of all ends; one that is none any more is a word again."""
    pair = random_pair()
    made = Openings(kinds(pair), pair.base.vocab_size)
    stop = kinds(pair).names.index("stop")
    ends = [
        gate.openings.tokens[gate.openings.categories.index(stop)].tolist()
        for gate in (
            KindGate(made),
            KindGate(made).with_ends([1, 7]),
            KindGate(made).with_ends([1, 7]).with_ends([1]),
        )
    ]
    assert ends == [[1], [1, 7], [1]]
