"""Models drawn at random: what they know, when they begin what, and the world that they work in."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from reasonmech.simulators import Hazards, ReasonerWorld, Skills, TabularModel

_BEGUN: Final = ("step", "check", "backtrack")


def draw_world(rng: np.random.Generator) -> ReasonerWorld:
    """Problems of three neighbouring sizes, and slips in 10 to 25 % of steps."""
    sizes = ((2, 3, 4), (3, 4, 5), (4, 5, 6))
    return ReasonerWorld(items=sizes[rng.integers(3)], slip=float(rng.choice([0.1, 0.15, 0.2, 0.25])))


def uniform(rng: np.random.Generator, *ranges: tuple[float, float]) -> list[float]:
    """A number from each range."""
    return [float(rng.uniform(*each)) for each in ranges]


def careful_onset(rng: np.random.Generator) -> Hazards:
    """Hazards of a model that works everything out, checks it, and repairs it."""
    return Hazards(*uniform(rng, (0.97, 0.998), (0.93, 0.995), (0.95, 0.995)))


def careless_onset(rng: np.random.Generator) -> Hazards:
    """Hazards of a model that seldom does: it guesses at once, or never checks, or both."""
    step = (0.05, 0.45) if rng.random() < 0.5 else (0.8, 0.98)
    return Hazards(*uniform(rng, step, (0.01, 0.35), (0.05, 0.45)))


def able_skills(rng: np.random.Generator) -> Skills:
    """Skills of a model that carries out nearly everything rightly."""
    return Skills(*uniform(rng, (0.93, 0.998), (0.93, 0.998), (0.93, 0.998), (0.98, 1.0), (0.08, 0.12)))


def unable_skills(rng: np.random.Generator, able: Skills) -> Skills:
    """Skills of a model that can do hardly any of it, or that lacks the steps, or what repairs them."""
    step, check, backtrack = uniform(rng, (0.15, 0.7), (0.15, 0.7), (0.15, 0.7))
    lacks = rng.integers(3)
    if lacks == 1:
        check, backtrack = able.check, able.backtrack
    if lacks == 2:
        step = able.step
    return replace(able, step=step, check=check, backtrack=backtrack)


def jittered(rng: np.random.Generator, p: float, by: float = 0.004) -> float:
    """A probability, moved a little."""
    return float(np.clip(p + rng.uniform(-by, by), 0.0, 1.0))


def nearly_skills(rng: np.random.Generator, skills: Skills) -> Skills:
    """The same skills but for noise in the weights: less than half a point each."""
    return Skills(*(jittered(rng, getattr(skills, name)) for name in Skills.__dataclass_fields__))


def nearly_onset(rng: np.random.Generator, hazards: Hazards) -> Hazards:
    """The same hazards but for noise in the weights."""
    return Hazards(*(jittered(rng, getattr(hazards, name)) for name in _BEGUN))


def draw_model(
    rng: np.random.Generator, onset: Hazards, known: Skills, sure: float | None = None
) -> TabularModel:
    """A model with these hazards and skills; how sure it is of both is drawn where it is not said."""
    return TabularModel(onset, known, float(rng.uniform(0.97, 0.998)) if sure is None else sure)
