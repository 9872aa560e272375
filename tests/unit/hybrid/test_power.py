"""Power sampling draws whole texts from p ** alpha; an environment and a batch change nothing of it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError
from reasonmech.hybrid import PowerConfig, PowerSampled
from reasonmech.problem import Problem
from reasonmech.testing import tiny_host

ALPHA, N = 2.0, 1500


def _first_tokens(host: rm.Host, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Chances of the first token of a text of two: under p ** alpha of texts, and at T = 1 / alpha."""
    ids = host.encode(prompt)
    with torch.no_grad():
        first = host.model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        second = host.model(input_ids=torch.tensor([[*ids, t] for t in range(len(first))])).logits[:, -1]
    rest = (ALPHA * second.float().log_softmax(-1)).logsumexp(-1)
    rest[list(host.eos_ids)] = 0.0  # the text ends there
    return (ALPHA * first + rest).softmax(0), (ALPHA * first).softmax(0)


def test_texts_are_drawn_from_the_power_of_their_probability_and_not_token_by_token() -> None:
    host = tiny_host()
    with torch.no_grad():
        host.unembedding().mul_(0.6)
    exact, by_token = _first_tokens(host, "w5")
    apart = float((exact - by_token).abs().sum() / 2)
    assert apart > 0.2, "else the test could not tell them"
    problems = rm.ProblemSet([Problem("p", "w5", "")], task="")
    decode = rm.Decode(max_new_tokens=2, samples=N, batch_size=N)

    def distance(moves: int) -> tuple[float, float]:
        texts = PowerSampled(host, PowerConfig(alpha=ALPHA, blocks=1, moves=moves)).write(
            problems, decode, progress=False
        )
        drawn = Counter(rollout.ids[0] for rollout in texts.rollouts)
        shares = torch.tensor([drawn[t] / N for t in range(len(exact))])
        return float((shares - exact).abs().sum() / 2), float((shares - by_token).abs().sum() / 2)

    without, moved = distance(0), distance(12)
    assert without[1] < 0.08 and without[0] > apart / 2, "no move: a sharper base, token by token"
    assert moved[0] < 0.08 and moved[1] > apart / 2, "a distance of about 0.05 is what 1500 draws leave"


def test_what_is_kept_is_kept_under_an_environment_too() -> None:
    pair, problems = rm.load_pair("tiny-when"), rm.load_task("chain", n=6, seed=0)
    sampler = PowerSampled(pair.base, PowerConfig(blocks=3, moves=2))
    decode = rm.Decode(max_new_tokens=60)
    texts = sampler.write(problems, decode, progress=False)
    assert [r.problem.id for r in texts.rollouts] == [p.id for p in problems]
    assert (
        0 < texts.acceptance <= 1 and texts.cost > 1 and texts.kept == sum(r.n_chosen for r in texts.rollouts)
    )
    for rollout in texts.rollouts:  # a slip depends on the problem and the attempt alone, so it comes again
        scribe = problems.environment.scribe(rollout.problem, rollout.sample, pair.base.tokenizer)  # type: ignore[union-attr]
        written = [scribe.write(token) for token in rollout.ids]
        assert [w.token for w in written] == list(rollout.ids)
    alone = sampler.write(problems[2:3], decode, progress=False)
    assert alone.rollouts[0].ids == texts.rollouts[2].ids
    again = sampler.write(problems, decode.model_copy(update={"batch_size": 2}), progress=False)
    assert [r.ids for r in again.rollouts] == [r.ids for r in texts.rollouts]


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ArgumentError, match="alpha"):
        PowerConfig(alpha=0.0)
