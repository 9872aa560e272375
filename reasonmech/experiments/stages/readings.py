"""Readings: what the effects of an intervention on all onsets come to, in one word that intervals decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, final

from reasonmech.stats import Interval

Reading = Literal["onset-word button", "selective", "not selective", "no effect", "undecided"]
MARGIN: Final = 0.05  # share of moments: what moves less is left where it was
DIRECT: Final = 0.5  # of the effect on the onset, beyond which a feature writes the word itself


class Shift(NamedTuple):
    """A change of a probability, over problems.

    Attributes:
        interval: that it moves is read off this one: at 95 %, jointly with those that stand beside it.
        narrow: that it stays below the margin is read off this one: at 90 %, one side of which is 95 %.
    """

    interval: Interval
    narrow: Interval

    @property
    def is_beyond(self) -> bool:
        return self.interval.low > MARGIN

    @property
    def is_below(self) -> bool:
        return self.narrow.high < MARGIN

    def __str__(self) -> str:
        return str(self.interval)


@final
@dataclass(frozen=True)
class OnsetEffects:
    """What an intervention does, each change with the sign that counts.

    Attributes:
        behaviour: its own.
        wanted: change of its own onset at its opportunities, the way of the verb (a clamp's rise, an
            ablation's fall).
        beside: what else moves -> by how much, signed so that a rise is damage ("so elsewhere").
        over_row: `wanted` less that of the unembedding row of the onset word, at equal KL; None for an
            ablation.
        over_active: `wanted` less that of the features as active there that do most; None without such.
        direct: share of `wanted`, in log-odds, that needs no later layer; None where it is not known.
    """

    behaviour: str
    wanted: Shift
    beside: Mapping[str, Shift]
    over_row: Shift | None = None
    over_active: Shift | None = None
    direct: Interval | None = None

    @property
    def reading(self) -> Reading:
        """One word, by whole intervals.

        - no effect: the wanted change is below the margin;
        - onset-word button: most of it goes straight to the unembedding, and the row of the onset word does
          as much;
        - not selective: something beside it moves by more than the margin;
        - selective: nothing beside it does, it is no button, and it does more than features as active there;
        - undecided: an interval lies across what decides.
        """
        if self.wanted.is_below:
            return "no effect"
        if not self.wanted.is_beyond:
            return "undecided"
        if self.is_button:
            return "onset-word button"
        if self.moved:
            return "not selective"
        spared = all(shift.is_below for shift in self.beside.values())
        beyond = self.over_active is None or self.over_active.interval.low > 0
        return "selective" if spared and beyond and self.is_no_button else "undecided"

    @property
    def is_button(self) -> bool:
        """Whether it writes the word, and no more than the word's own row would."""
        if self.over_row is None or self.direct is None:
            return False
        return self.direct.low > DIRECT and self.over_row.is_below

    @property
    def is_no_button(self) -> bool:
        """Whether later layers are needed, or the word's own row does less; so of every ablation."""
        if self.over_row is None:
            return True
        return self.over_row.is_beyond or (self.direct is not None and self.direct.high < DIRECT)

    @property
    def moved(self) -> dict[str, Shift]:
        """What else moves by more than the margin, the most first."""
        beyond = {name: shift for name, shift in self.beside.items() if shift.is_beyond}
        return dict(sorted(beyond.items(), key=lambda item: -item[1].interval.estimate))

    @property
    def also(self) -> str:
        """What else moves, with its numbers."""
        return "; ".join(f"{name} {shift}" for name, shift in self.moved.items())

    @property
    def reason(self) -> str:
        """The numbers that decide, in words."""
        parts = [f"{self.behaviour} moves by {self.wanted}"]
        if self.over_row is not None:
            parts.append(f"by {self.over_row} more than along the unembedding row of its word at equal KL")
        if self.over_active is not None:
            parts.append(f"by {self.over_active} more than with features as active there")
        if self.direct is not None:
            parts.append(f"direct share {self.direct}")
        parts.append(f"beside it: {self.also}" if self.also else "nothing beside it is seen to move")
        return f"{', '.join(parts)}; margin {MARGIN:g}"
