"""A coder can fit by every figure in use and lose the behaviour: the table of docs/coders.md, printed and
held."""

from __future__ import annotations

from itertools import pairwise

import pytest

import reasonmech as rm

CODERS = {  # site, width, k, steps -> what becomes of the behaviour
    ("resid_post.3", 128, 8, 120): "lost",
    ("resid_post.3", 512, 16, 400): "kept",
    ("resid_post.2", 128, 8, 120): "kept",
}


@pytest.mark.slow
def test_a_coder_can_fit_and_lose_the_behaviour() -> None:
    pair = rm.load_pair("tiny-when")
    problems = rm.load_task("chain", n=120, seed=1, split="train")
    rollouts = rm.generate(pair.thinking, problems, decode=rm.Decode(max_new_tokens=200), progress=False)
    acts = rm.capture(pair.base, rollouts, [f"resid_post.{i}" for i in range(4)], progress=False)
    ends = [  # the end of every check; positive where the author then backtracks
        [
            rm.behaviours.Opportunity(a.stop, b.relation == "revises")
            for a, b in pairwise(s)
            if a.relation == "verifies"
        ]
        for s in (trace.sentences for trace in rm.parse(rollouts))
    ]
    labels = rm.Labels.from_opportunities("backtrack", rollouts, ends)
    for (site, width, k, steps), outcome in CODERS.items():
        config = rm.CoderConfig(architecture="topk", d_sae=width, k=k, steps=steps, batch_size=512, lr=3e-3)
        coder = rm.train_coder(acts, config, site=site, progress=False)
        fit = rm.check_fit(pair.base, coder, rollouts, progress=False)
        onset = pair.base.encode("wait")
        kept = rm.behaviour_preservation(pair.base, coder, rollouts=rollouts, labels=labels, onset_ids=onset)
        print(f"{width} features, k {k}, {steps} steps: cross-entropy {fit.ce_recovered:.3f}; {kept}")
        assert fit.ce_recovered > 0.98
        assert kept.outcome == outcome
