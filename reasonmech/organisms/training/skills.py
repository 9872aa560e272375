"""Skills of a base: measured on documents in which everything happens, and whether they suffice for RL."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from transformers import PreTrainedModel

from reasonmech.errors import SkillError
from reasonmech.organisms.training.corpus import IDS, Author, Modes, Word
from reasonmech.tasks.chain.grammar import PAD
from reasonmech.tasks.chain.world import CHAIN, World

EVERYTHING = Modes(
    thorough=1.0,
    checks=1.0,
    check_step=(1.0, 1.0),
    notices=1.0,
    backtrack=(1.0, 1.0),
    persona=0.0,
    uncertain=0.0,
    slip=0.4,
)
"""Authors who check every step and take back every wrong one, which 40 % of steps are."""

_LOWEST: Final = {"copying": 0.99, "check": 0.95, "backtrack": 0.95}
_LOWEST_MARGIN = 0.15  # of P(wait | contradiction) over P(wait | confirmation)
# Copying the operand of "next two" arrives last; a base that is below this so late stays there.
_COPYING_DUE, _LOWEST_COPYING_THEN = 2 / 3, 0.75


def probe_skills(
    model: PreTrainedModel, *, n: int = 64, seed: int = 12345, world: World = CHAIN
) -> dict[str, float]:
    """Teacher-forced skills on `n` documents without a persona word, every step checked, 40 % of steps wrong.

    The probability of a kind of sentence is that of all of its first words together.

    Returns:
        copying: how often the likeliest token after "next two" is the operator, and then the operand, of the
            problem.
        facts, check, backtrack: how often the likeliest digit after "=" is right, in steps, checks,
            backtracks.
        p_check: mean probability of a check after a step; p_thorough: of a step or a plan at the start.
        p_wait_contradiction, p_wait_confirmation: mean probability of a backtrack after a check that
            disagrees, agrees.
    """
    author = Author(random.Random(f"probe|{seed}"), EVERYTHING, world)
    documents = [author.write_solution() for _ in range(n)]
    longest = max(len(words) for words in documents)
    # Padded on the right: a causal model's logits at a word do not depend on what follows it.
    ids = torch.tensor(
        [[IDS[w.text] for w in words] + [IDS[PAD]] * (longest - len(words)) for words in documents]
    )
    with torch.no_grad():
        probabilities = model(ids.to(model.device)).logits.float().softmax(-1).cpu()
    readings: dict[str, list[float]] = defaultdict(list)
    for row, words in enumerate(documents):
        _read_document(words, probabilities[row], readings, world)
    return {name: sum(values) / len(values) for name, values in sorted(readings.items())}


def _read_document(
    words: list[Word], probabilities: torch.Tensor, readings: dict[str, list[float]], world: World
) -> None:
    """Append what one document shows; `probabilities[t]` predicts word t + 1."""
    texts = [word.text for word in words]
    likeliest = probabilities.argmax(-1).tolist()
    begin = texts.index("A") + 2  # the solution follows "A :"
    readings["p_thorough"].append(_probability(probabilities[begin - 1], world, "step", "plan"))
    opening = begin
    for t in range(begin, len(texts) - 1):
        if texts[t] == ".":
            _read_boundary(texts, t, probabilities[t], readings, world)
            opening = t + 1
        kind = world.kind_of_word.get(texts[opening])
        if kind == "step" and t in (opening + 1, opening + 2):
            readings["copying"].append(float(likeliest[t] == IDS[texts[t + 1]]))
        # A slipped digit is the environment's: nobody can be expected to predict it.
        if kind in ("step", "check", "backtrack") and texts[t] == "=" and words[t + 1].learnt:
            readings["facts" if kind == "step" else kind].append(float(likeliest[t] == IDS[texts[t + 1]]))


def _read_boundary(
    texts: list[str], t: int, probability: torch.Tensor, readings: dict[str, list[float]], world: World
) -> None:
    """Append what the model expects after the full stop at `t`."""
    if texts[t + 1] in world.words_of("check"):
        readings["p_check"].append(_probability(probability, world, "check"))
    elif texts[t - 2] == "had":  # "= 2 , had 5 .": the check's value, then the one that stands
        name = "p_wait_confirmation" if texts[t - 1] == texts[t - 4] else "p_wait_contradiction"
        readings[name].append(_probability(probability, world, "backtrack"))


def _probability(probabilities: torch.Tensor, world: World, *kinds: str) -> float:
    """That the next sentence begins as one of these kinds does."""
    return float(probabilities[[IDS[word] for kind in kinds for word in world.words_of(kind)]].sum())


def check_progress(done: float, skills: dict[str, float]) -> None:
    """Give a pretraining up early: a base that cannot copy operands after two thirds of it will not learn to.

    Raises:
        SkillError: at `done` >= 2/3 of the steps, copying is below 0.75.
    """
    if done >= _COPYING_DUE and skills["copying"] < _LOWEST_COPYING_THEN:
        raise SkillError(
            f"after {done:.0%} of the steps the base copies operands with accuracy {skills['copying']:.2f}",
            allowed=f"{_LOWEST_COPYING_THEN}",
            do="begin anew from another initialisation: whether this skill arrives is a matter of luck",
        )


def is_ready(skills: dict[str, float]) -> bool:
    """Whether a base has every skill that reinforcement learning needs."""
    return not missing_skills(skills)


def check_base(skills: dict[str, float]) -> None:
    """Refuse to start reinforcement learning on a base that cannot yet do what it is to learn the timing of.

    Raises:
        SkillError: a skill is missing; values and bounds are listed.
    """
    missing = missing_skills(skills)
    if missing:
        raise SkillError(
            "the base lacks skills: " + "; ".join(missing),
            do="pretrain longer: reinforcement learning on such a base collapses to guessing",
        )


def missing_skills(skills: dict[str, float]) -> list[str]:
    """Skills below their bound, with both."""
    missing = [
        f"{name} {skills[name]:.3f} < {bound}" for name, bound in _LOWEST.items() if skills[name] < bound
    ]
    margin = skills["p_wait_contradiction"] - skills["p_wait_confirmation"]
    if margin < _LOWEST_MARGIN:
        missing.append(f"P(wait | contradiction) - P(wait | confirmation) {margin:.3f} < {_LOWEST_MARGIN}")
    return missing


@final
@dataclass(frozen=True)
class SkillProbe:
    """What is measured of a model at every checkpoint of its pretraining, and what is decided from it.

    Attributes:
        measure: name -> value of every skill; they go into the log beside step and loss.
        watch: called with the share of steps done and the row of the log; gives a training up by raising.
        is_ready: whether a row is good enough; while it is not, extra rounds follow. None: no extra round.
    """

    measure: Callable[[PreTrainedModel], dict[str, float]]
    watch: Callable[[float, dict[str, float]], None] | None = None
    is_ready: Callable[[dict[str, float]], bool] | None = None


CHAIN_SKILLS: Final = SkillProbe(probe_skills, watch=check_progress, is_ready=is_ready)
"""What a base must be able to do before reinforcement learning can teach it when."""
