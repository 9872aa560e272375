"""Cases whose texts are cut off: models that lack the room for what they write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reasonmech.claims.validation.drawn_models import (
    able_skills,
    careful_onset,
    draw_model,
    nearly_onset,
    nearly_skills,
    unable_skills,
    uniform,
)
from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.simulators import Hazards, ReasonerWorld, Skills, TabularModel


def swapped(case: TabularCase) -> TabularCase:
    """The pair with base and thinking model exchanged: a gain becomes a loss."""
    return replace(case, base=case.thinking, thinking=case.base)


def length(rng: np.random.Generator) -> TabularCase:
    """A base that checks every step in a world where nothing slips, and has no room for it."""
    able = Skills(*uniform(rng, (0.99, 1.0), (0.99, 1.0), (0.99, 1.0), (0.99, 1.0), (0.08, 0.12)))
    base = draw_model(rng, Hazards(*uniform(rng, (0.99, 0.999), (0.95, 0.999), (0.97, 0.999))), able, 0.995)
    brief = Hazards(*uniform(rng, (0.99, 0.999), (0.001, 0.02), (0.97, 0.999)))
    items = int(rng.integers(3, 6))
    world = ReasonerWorld((items, items + 1, items + 2), slip=0.0, max_sentences=items + 4)
    return TabularCase(base, TabularModel(brief, nearly_skills(rng, able), 0.995), world)


def length_lost(rng: np.random.Generator) -> TabularCase:
    """A thinking model that checks every step and is cut off before it has worked the answer out."""
    case = swapped(length(rng))
    n = int(rng.integers(5, 7))
    return replace(case, world=replace(case.world, items=(n, n + 1, n + 2), max_sentences=n + 3))


def both_cut_off(rng: np.random.Generator) -> TabularCase:
    """Two models that check every step, have no room for it, and are apart where they have."""
    able, onset = able_skills(rng), careful_onset(rng)
    base = draw_model(rng, onset, unable_skills(rng, able))
    items, more = int(rng.integers(3, 5)), int(rng.integers(1, 3))
    room = 2 * items + int(rng.integers(2))
    world = ReasonerWorld((items, items + more, items + more + 1), slip=0.1, max_sentences=room)
    return TabularCase(base, draw_model(rng, nearly_onset(rng, onset), able, base.sure), world)


def never_ending(rng: np.random.Generator) -> TabularCase:
    """A model that checks every step and has no room for it, nor with twice as much: a loss, or a gap."""
    able, items = able_skills(rng), int(rng.integers(4, 7))
    room = int(rng.integers(items - 2, items))
    world = ReasonerWorld((items, items + 1, items + 2), slip=0.1, max_sentences=room)
    brief = draw_model(rng, Hazards(*uniform(rng, (0.02, 0.2), (0.01, 0.35), (0.05, 0.45))), able)
    careful = draw_model(rng, careful_onset(rng), nearly_skills(rng, able), brief.sure)
    pair = (brief, careful) if rng.random() < 0.5 else (careful, brief)
    return TabularCase(*pair, world)
