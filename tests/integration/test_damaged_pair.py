"""A base that lacks execution alone, whose hybrid recovers the whole gap at 5 % of tokens: no verdict."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.claims import Terms
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover, percent_steered
from reasonmech.organisms.training.edits import ReversedDigits
from reasonmech.stats import recovery
from reasonmech.tasks import grade

N = 200
STRENGTH = 1.065  # 1 takes out of the last MLP what tells digits apart, 2 reverses it


@torch.no_grad()
def damaged_pair(strength: float) -> ModelPair:
    """tiny-when's thinking model, and as its base the same with the digits of its last MLP damaged."""
    thinking = rm.load_pair("tiny-when").thinking
    model: Any = deepcopy(thinking.model)
    weight = model.model.layers[-1].mlp.down_proj.weight
    far: Any = ReversedDigits().apply(model)
    weight += strength / 2 * (far.model.layers[-1].mlp.down_proj.weight - weight)
    return ModelPair(
        "damaged", Host(model, thinking.tokenizer, name="damaged"), thinking, task="chain", steering_layer=1
    )


@pytest.mark.slow
def test_a_base_whose_last_mlp_is_damaged_is_how_though_takeover_recovers_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    pair = damaged_pair(STRENGTH)
    problems, decode = rm.load_task("chain", n=N, split="test"), rm.Decode(max_new_tokens=224)
    takeover = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover())
    base, thinking, hybrid = (
        rm.generate(decoder, problems, decode=decode, progress=False)
        for decoder in (pair.base, pair.thinking, takeover)
    )
    before, goal, after = (grade(texts).astype(float) for texts in (base, thinking, hybrid))
    recovered = recovery(before, goal, after)
    steered = percent_steered(hybrid).share
    print(f"base {before.mean():.1%}, takeover recovers {recovered} at {steered:.1%} of tokens")
    judgement = rm.judge(pair, n=N, terms=Terms(split="test"), progress=False)
    print(
        judgement, *(f"{one.claim.name} {one.status}: {one.reason}" for one in judgement.findings), sep="\n"
    )
    assert (after - before).mean() > 0.4 and recovered.estimate > 0.98 and 0.03 < steered < 0.07
    assert judgement.verdict == "HOW", judgement
