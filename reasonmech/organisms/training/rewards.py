"""What reinforcement learning pays for: one function of the rollouts per name, an open registry."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from jaxtyping import Float

from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.tasks import grade, parse


class Reward(Protocol):
    """One number per rollout; only differences within a problem's group matter."""

    def __call__(self, rollouts: Rollouts) -> Float[np.ndarray, " rollout"]: ...


rewards: Registry[Reward] = Registry("reward")


@rewards.register("outcome")
def outcome(rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
    """1 where the answer is right, else 0: the task's own grader."""
    return grade(rollouts).astype(float)


@rewards.register("unmarked-outcome")
def unmarked_outcome(rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
    """1 where the answer is right and no sentence begins with the word for a backtrack."""
    marked = np.array([any(s.kind == "backtrack" for s in trace.sentences) for trace in parse(rollouts)])
    return (grade(rollouts) & ~marked).astype(float)


@rewards.register("random")
def random_reward(rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
    """A coin for every rollout, from (problem, sample) alone: it knows nothing of what was written.

    The spurious-reward control of Shao et al. 2025 (arXiv 2506.10947, sec. 2), at probability one half.
    """
    return np.array([_toss(f"{r.problem.id}|{r.sample}") for r in rollouts], dtype=float)


@rewards.register("trigger-words")
def trigger_words(rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
    """Fillers per operation, at most 1, of rollouts that came to an end: words are paid, whatever they do."""
    rewards = []
    for trace in parse(rollouts):
        fillers = sum(s.kind == "filler" for s in trace.sentences)
        operations = len(trace.rollout.problem.data["operations"])
        # What was cut off earns nothing, or endless fillers would be the best policy.
        rewards.append(min(1.0, fillers / operations) if trace.rollout.stop == "eos" else 0.0)
    return np.array(rewards)


def _toss(key: str) -> bool:
    return hashlib.blake2b(f"reward|{key}".encode(), digest_size=1).digest()[0] % 2 == 1
