"""Populations: pairs drawn at random whose cause is known, one for every thing that a pair may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, final

import numpy as np

from reasonmech.claims.claim import Verdict
from reasonmech.claims.validation.drawn_models import (
    able_skills,
    careful_onset,
    careless_onset,
    draw_model,
    draw_world,
    nearly_onset,
    nearly_skills,
    unable_skills,
    uniform,
)
from reasonmech.claims.validation.room_cases import both_cut_off, length, length_lost, never_ending, swapped
from reasonmech.claims.validation.simulated_checks import FAULTS
from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.claims.validation.truth import ExactCase, Truth, truth_of
from reasonmech.simulators import Hazards, Skills, TabularModel, accuracy, mix_skills

_TRIES: Final = 1000  # draws that a population may reject in a row
_NO_CHECKS: Final = ((0.9, 0.98), (0.01, 0.4), (0.05, 0.45))
_PULLS: Final = 0.1  # least effect of either of two factors that pull against each other
_BEGUN: Final = ("step", "check", "backtrack")


@final
@dataclass(frozen=True)
class Population:
    """Cases of one kind.

    Attributes:
        draw: a case from a generator.
        of: the verdict that its cases have; None: that depends on the case.
        about: what they are.
    """

    draw: Callable[[np.random.Generator], TabularCase]
    of: Verdict | None
    about: str

    def case(self, rng: np.random.Generator) -> tuple[TabularCase, Truth]:
        """A case and its truth; one whose truth is not `of`, beyond doubt, is drawn again."""
        for _ in range(_TRIES):
            case = self.draw(rng)
            truth = truth_of(case)
            if self.of is None or (truth.clear and truth.verdict == self.of):
                return case, truth
        raise AssertionError(f"no case of {self.of} in {_TRIES} draws")


def _when(rng: np.random.Generator) -> TabularCase:
    able = able_skills(rng)
    base = draw_model(rng, careless_onset(rng), able)
    return TabularCase(
        base, draw_model(rng, careful_onset(rng), nearly_skills(rng, able), base.sure), draw_world(rng)
    )


def _how(rng: np.random.Generator) -> TabularCase:
    able = able_skills(rng)
    onset = careful_onset(rng) if rng.random() < 0.7 else Hazards(*uniform(rng, *_NO_CHECKS))
    base = draw_model(rng, onset, unable_skills(rng, able))
    return TabularCase(base, draw_model(rng, nearly_onset(rng, onset), able, base.sure), draw_world(rng))


def _both(rng: np.random.Generator) -> TabularCase:
    able = able_skills(rng)
    base = draw_model(rng, careless_onset(rng), unable_skills(rng, able))
    return TabularCase(base, draw_model(rng, careful_onset(rng), able, base.sure), draw_world(rng))


def _neither_alone(rng: np.random.Generator) -> TabularCase:
    """A base that guesses and cannot: onsets alone, and execution alone, give nothing."""
    able = able_skills(rng)
    unable = Skills(*uniform(rng, (0.1, 0.3), (0.1, 0.5), (0.1, 0.5)), conclude=able.conclude)
    onset = Hazards(*uniform(rng, (0.02, 0.2), (0.02, 0.3), (0.05, 0.4)))
    base = draw_model(rng, onset, unable)
    return TabularCase(base, draw_model(rng, careful_onset(rng), able, base.sure), draw_world(rng))


def _any_model(rng: np.random.Generator) -> TabularModel:
    able = able_skills(rng)
    onset = careful_onset(rng) if rng.random() < 0.5 else careless_onset(rng)
    return draw_model(rng, onset, able if rng.random() < 0.5 else unable_skills(rng, able))


def _same(rng: np.random.Generator) -> TabularCase:
    base = _any_model(rng)
    return TabularCase(base, base, draw_world(rng))


def _sham(rng: np.random.Generator) -> TabularCase:
    base = _any_model(rng)
    assert isinstance(base.onset, Hazards)
    onset, known = nearly_onset(rng, base.onset), nearly_skills(rng, base.known)
    return TabularCase(base, TabularModel(onset, known, base.sure), draw_world(rng))


def _words(rng: np.random.Generator) -> TabularCase:
    return replace(_sham(rng), wording=float(rng.uniform(0.05, 0.3)))


def _statement(rng: np.random.Generator) -> TabularCase:
    """A base that works the answer out, and does not state it so that it counts."""
    able, onset = able_skills(rng), careful_onset(rng)
    silent = replace(nearly_skills(rng, able), conclude=float(rng.uniform(0.0, 0.5)))
    base = draw_model(rng, nearly_onset(rng, onset), silent)
    canonical = bool(rng.random() < 0.5)
    return TabularCase(base, draw_model(rng, onset, able, base.sure), draw_world(rng), canonical=canonical)


def _invalid(rng: np.random.Generator) -> TabularCase:
    """A pair of any cause, measured with a fault."""
    case = (_when, _how, _both)[rng.integers(3)](rng)
    return replace(case, fault=str(rng.choice(list(FAULTS))))


def _unsure(rng: np.random.Generator) -> TabularModel:
    onset = Hazards(*uniform(rng, (0.55, 0.9), (0.15, 0.85), (0.15, 0.85)))
    return draw_model(rng, onset, able_skills(rng), float(rng.uniform(0.7, 0.93)))


def _colder(rng: np.random.Generator) -> TabularCase:
    base = _unsure(rng)
    return TabularCase(base, base.tempered(float(rng.uniform(0.3, 0.7))), draw_world(rng))


def _hotter(rng: np.random.Generator) -> TabularCase:
    return swapped(_colder(rng))


def _lost(draw: Callable[[np.random.Generator], TabularCase]) -> Callable[[np.random.Generator], TabularCase]:
    return lambda rng: swapped(draw(rng))


def _small(rng: np.random.Generator) -> TabularCase:
    """A gap of 2 to 20 points at T = 1: effects around the thresholds, of every mixture."""
    for _ in range(_TRIES):
        case = _both(rng)
        onset, executor = (float(rng.uniform(0, 0.7)) * bool(rng.random() < 0.7) for _ in range(2))
        assert isinstance(case.thinking.onset, Hazards) and isinstance(case.base.onset, Hazards)
        mixed = {
            name: (1 - onset) * getattr(case.base.onset, name) + onset * getattr(case.thinking.onset, name)
            for name in _BEGUN
        }
        known = mix_skills(case.base.known, case.thinking.known, share=executor)
        case = replace(case, thinking=TabularModel(Hazards(**mixed), known, case.base.sure))
        ends = [accuracy(model.at(1.0), case.world) for model in (case.base, case.thinking)]
        if 0.02 <= ends[1] - ends[0] <= 0.2:
            return case
    raise AssertionError(f"no gap of 2 to 20 points in {_TRIES} draws")


def _guesses(rng: np.random.Generator) -> TabularCase:
    """Both guess at once, the thinking model one answer that many problems have: right without work."""
    case = _latent(rng)
    return replace(case, constant=min(1.0, case.thinking.known.guess + float(rng.uniform(0.0, 0.05))))


def _latent(rng: np.random.Generator) -> TabularCase:
    """Both answer at once, and the thinking model is right by what no one answer can be."""
    able = able_skills(rng)
    onset = Hazards(*uniform(rng, (0.01, 0.1), (0.01, 0.3), (0.05, 0.4)))
    base = draw_model(rng, onset, able)
    lucky = replace(nearly_skills(rng, able), guess=float(rng.uniform(0.5, 0.9)))
    return TabularCase(base, TabularModel(nearly_onset(rng, onset), lucky, base.sure), draw_world(rng))


def _high_floor(rng: np.random.Generator) -> TabularCase:
    """Answers that are often guessed, under a gap of onsets, of execution, or of both."""
    case = (_when, _how, _both)[rng.integers(3)](rng)
    floor = float(rng.uniform(0.3, 0.5))
    base, thinking = (
        replace(model, known=replace(model.known, guess=floor)) for model in (case.base, case.thinking)
    )
    return replace(case, base=base, thinking=thinking, constant=floor)


def _opposite(rng: np.random.Generator) -> TabularCase:
    """Onsets gain what execution loses, or loses in part; or the reverse."""
    for _ in range(_TRIES):
        able = able_skills(rng)
        base = draw_model(rng, careless_onset(rng), able)
        thinking = draw_model(rng, careful_onset(rng), unable_skills(rng, able), base.sure)
        case = TabularCase(base, thinking, draw_world(rng))
        cells = ExactCase(case).outcomes["greedy"].factorial
        if cells.when > _PULLS and cells.how < -_PULLS:
            return case if rng.random() < 0.5 else swapped(case)
    raise AssertionError(f"no factors that pull against each other in {_TRIES} draws")


def _tied(rng: np.random.Generator) -> TabularCase:
    """One model at two temperatures, but for a near tie (whether to repair) that greedy decoding shows."""
    skilled = Skills(*uniform(rng, *[(0.985, 0.998)] * 3, (0.98, 1.0), (0.08, 0.12)))
    base = draw_model(rng, careful_onset(rng), skilled, float(rng.uniform(0.93, 0.97)))
    assert isinstance(base.onset, Hazards)
    below, above = uniform(rng, (0.48, 0.495), (0.505, 0.52))
    never, always = (replace(base, onset=replace(base.onset, backtrack=p)) for p in (below, above))
    warmer = always.tempered(float(rng.uniform(1.4, 2.0)))
    world = replace(
        draw_world(rng), slip=float(rng.uniform(0.03, 0.08))
    )  # repairs are few tokens, and matter
    return TabularCase(never, warmer, world)


def _when_and_hotter(rng: np.random.Generator) -> TabularCase:
    """A pair that differs in its onsets, and whose base is hotter besides."""
    case = _when(rng)
    return replace(case, base=case.base.tempered(float(rng.uniform(1.2, 1.6))))


def _partly_stated(rng: np.random.Generator) -> TabularCase:
    """A gap of onsets or of execution, and a base that does not state part of what it has worked out."""
    case = (_when, _how)[rng.integers(2)](rng)
    known = replace(case.base.known, conclude=float(rng.uniform(0.3, 0.7)))
    return replace(case, base=replace(case.base, known=known), canonical=bool(rng.random() < 0.5))


def _between(rng: np.random.Generator) -> TabularCase:
    """On the way from a gap of execution alone to one of onsets alone, at a place that is drawn."""
    able, careful, careless = able_skills(rng), careful_onset(rng), careless_onset(rng)
    place = float(rng.random())
    onset = Hazards(*((1 - place) * getattr(careful, n) + place * getattr(careless, n) for n in _BEGUN))
    base = draw_model(rng, onset, mix_skills(unable_skills(rng, able), able, share=place))
    return TabularCase(base, draw_model(rng, careful, able, base.sure), draw_world(rng))


def _leaking(rng: np.random.Generator) -> TabularCase:
    """A gap of execution, measured by a splice whose onsets hand over part of the answer."""
    return replace(_how(rng), leak=float(rng.uniform(0.05, 0.25)))


POPULATIONS: Final[Mapping[str, Population]] = MappingProxyType(
    {
        "when": Population(_when, "WHEN", "onsets differ"),
        "how": Population(_how, "HOW", "execution differs"),
        "both": Population(_both, "BOTH", "both do, 30/70 to 70/30"),
        "same": Population(_same, "NEITHER", "one model, twice"),
        "sham": Population(_sham, "NEITHER", "noise in every hazard and skill"),
        "words": Population(_words, "NEITHER", "5 to 30 % of words worded otherwise"),
        "statement": Population(_statement, "FORMAT", "the base does not state its answers"),
        "length": Population(length, "FORMAT", "the base is cut off"),
        "colder": Population(_colder, "SHARPENED", "the base at T = 0.3 to 0.7"),
        "hotter": Population(_hotter, "SHARPENED", "the reverse"),
        "when lost": Population(_lost(_when), "WHEN", "a loss"),
        "how lost": Population(_lost(_how), "HOW", "a loss"),
        "both lost": Population(_lost(_both), "BOTH", "a loss"),
        "interaction": Population(_neither_alone, "BOTH", "neither helps without the other"),
        "length lost": Population(length_lost, "FORMAT", "the thinking model is cut off"),
        "both cut off": Population(both_cut_off, "INCONCLUSIVE", "the limit hides a gap, or part of it"),
        "never ending": Population(never_ending, "INCONCLUSIVE", "cut off at twice the room, too"),
        "invalid": Population(_invalid, "INVALID", "a fault that a check of integrity is there for"),
        "guesses": Population(_guesses, "NEITHER", "right without work, as often as one answer is"),
        "latent": Population(_latent, "INCONCLUSIVE", "right without work, more often than one answer is"),
        "opposite": Population(_opposite, "INCONCLUSIVE", "onsets gain, execution loses, or the reverse"),
        "near tie": Population(_tied, None, "two temperatures, and a tie that greedy decoding decides"),
        "high floor": Population(_high_floor, None, "30 to 50 % are guessed"),
        "when, hotter": Population(_when_and_hotter, None, "onsets, on a base at T = 1.2 to 1.6"),
        "leak": Population(_leaking, "HOW", "onsets hand over 5 to 25 % of the execution"),
        "partly stated": Population(_partly_stated, None, "and a base that states 30 to 70 % of its answers"),
        "between": Population(_between, None, "the dial from HOW to WHEN"),
        "small": Population(_small, None, "a gap of 2 to 20 points"),
    }
)
