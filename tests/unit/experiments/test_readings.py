"""What intervals say of an intervention on all onsets: a button, selective, not selective, or nothing yet."""

from __future__ import annotations

import pytest

from reasonmech.experiments.stages.readings import OnsetEffects, Shift
from reasonmech.stats import Interval


def shift(value: float, half: float = 0.02) -> Shift:
    interval = Interval(value, value - half, value + half, 0.95)
    return Shift(interval, interval)


RISE, NONE, OPEN = shift(0.6), shift(0.0), shift(0.0, 0.2)
MOSTLY, HARDLY = Interval(0.8, 0.7, 0.9, 0.95), Interval(0.1, 0.0, 0.2, 0.95)


@pytest.mark.parametrize(
    ("effects", "reading"),
    [
        (OnsetEffects("check", NONE, {}), "no effect"),
        (OnsetEffects("check", shift(0.06, 0.05), {}), "undecided"),
        (OnsetEffects("check", RISE, {}, over_row=NONE, direct=MOSTLY), "onset-word button"),
        # a button that presses everywhere is a button all the same
        (OnsetEffects("check", RISE, {"check elsewhere": RISE}, NONE, direct=MOSTLY), "onset-word button"),
        (OnsetEffects("check", RISE, {"so elsewhere": RISE}, NONE, direct=HARDLY), "not selective"),
        (OnsetEffects("check", RISE, {"so elsewhere": NONE}, NONE, direct=HARDLY), "selective"),
        (OnsetEffects("check", RISE, {"so elsewhere": NONE}, shift(0.3), direct=MOSTLY), "selective"),
        (OnsetEffects("check", RISE, {"so elsewhere": NONE}, OPEN, direct=MOSTLY), "undecided"),
        (OnsetEffects("check", RISE, {"so elsewhere": OPEN}, NONE, direct=HARDLY), "undecided"),
        # features that merely happen to be active do as much
        (OnsetEffects("check", RISE, {}, shift(0.3), over_active=NONE, direct=HARDLY), "undecided"),
        # an ablation has no row beside it
        (OnsetEffects("check", RISE, {"so where it is written": NONE}), "selective"),
        (OnsetEffects("check", RISE, {"so where it is written": RISE}), "not selective"),
    ],
)
def test_whole_intervals_decide(effects: OnsetEffects, reading: str) -> None:
    assert effects.reading == reading


def test_what_moves_beside_it_is_said_with_its_numbers() -> None:
    effects = OnsetEffects("backtrack", RISE, {"so": shift(0.2), "next": shift(0.5), "check": NONE})
    assert list(effects.moved) == ["next", "so"]
    assert "next 0.5 [0.48, 0.52]; so 0.2" in effects.reason and "check" not in effects.also
