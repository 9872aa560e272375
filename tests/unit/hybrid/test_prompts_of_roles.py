"""A pair whose models are behind prompts of their own: what one hands over, the other reads behind its."""

from __future__ import annotations

import pytest

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair, Prompt
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover
from reasonmech.runtime import Decode
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from tests.layouts import layout_host
from tests.unit.hosts.test_encode import KINDS

TEXTS = ["Is it so? Answer:", "So it is 4. But wait", "Okay."]


def pair_of(name: str, *, apart: bool) -> ModelPair:
    pair = ModelPair("p", layout_host(name), layout_host(name, seed=1))
    if not apart:
        return pair
    return pair.with_prompts(
        base=Prompt(template="Is it so? Answer: yes. {prompt}"), thinking=Prompt(prefix=" Okay. Wait,")
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", ["qwen2", "llama2", "gemma"])
def test_a_takeover_everywhere_is_the_thinking_model_behind_its_own_prompt(
    name: str, temperature: float
) -> None:
    pair = pair_of(name, apart=True)
    decode = Decode(max_new_tokens=16, temperature=temperature, samples=2 if temperature else 1)
    alone = rm.generate(pair.thinking, TEXTS, decode=decode, progress=False)
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS)
    taken = rm.generate(hybrid, TEXTS, decode=decode, progress=False)
    for one, other in zip(taken, alone, strict=True):
        n = min(len(one.ids), len(other.ids))
        assert one.ids[:n] == other.ids[:n] and n > 1
        assert one.prompt_ids != other.prompt_ids  # each in what its writer's first reader reads
        assert one.prompt_ids == tuple(pair.base.prompt_ids([one.problem])[0])
    plain = rm.generate(pair_of(name, apart=False).thinking, TEXTS, decode=decode, progress=False)
    assert [r.ids for r in plain] != [r.ids for r in alone]


def test_a_gate_on_the_partners_stream_wants_the_same_prompt() -> None:
    pair = pair_of("qwen2", apart=True)
    ones = rm.Direction.along(pair.base.unembedding()[5], "resid_post.0")
    plan = rm.steer(ones, 1.0, when=rm.above(ones, 0.0, role="thinking"))
    decoder = HostDecoder.of(pair.base, plan, partner=pair.thinking)
    with pytest.raises(DataError, match="prompts that both encode alike"):
        rm.generate(decoder, TEXTS, decode=Decode(max_new_tokens=4), progress=False)
