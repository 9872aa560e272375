"""SelectivityRows: what one group of features and its controls did to every onset, as rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, final

import numpy as np

from reasonmech.experiments.stages.moments import BehaviourMoments
from reasonmech.experiments.stages.onset_arms import ROW, OnsetArm, OnsetBed, OnsetReading, Verb
from reasonmech.experiments.stages.onset_table import onset_rows
from reasonmech.experiments.stages.readings import OnsetEffects, Shift
from reasonmech.stats import CONTRAST, LEVEL, MIN_PROBLEMS, SHARE, Interval, mean_interval

COLUMNS: Final = {
    "behaviour": "whose features are written",
    "host": "base or thinking",
    "verb": "clamp (at the moments) or ablate (everywhere)",
    "arm": "located; unembedding row: of the behaviour's onset word; active: features as active at the "
    "opportunities",
    "coder": "name in the run",
    "site": "where it is written",
    "features": "indices in the coder",
    "amount": "multiple of mean activations, or residual-norm units of the row; NaN for an ablation",
    "kl": "between the next-token distributions at opportunities with and without it, nats",
    "kl_target": "that of the located features, which a control is to have",
    "kl_shortfall": "(kl_target - kl) / kl_target: beyond 0.1 either way it is not matched",
    "untouched": "P(own onset) at opportunities without it",
    "value": "with it",
    "change": "value less untouched, paired, with low and high",
    "elsewhere": "the same change at boundaries where the behaviour could not begin",
    "over_row": "change less that of the unembedding row; located clamps only",
    "over_active": "change less that of the active control that does most, the way of the verb; located only",
    "direct_share": "share of the change, in log-odds, that goes straight to the unembedding",
    "also": "what else moves by more than the margin, the most first; located only",
    "reading": "onset-word button, selective, not selective, no effect or undecided; located only",
    "reason": "its numbers",
}


@final
@dataclass(frozen=True, eq=False)
class SelectivityRows:
    """A group's arms, the located features first, as they were read.

    Attributes:
        tags: behaviour, host, verb, coder, site.
        clean: without any of them.
    """

    tags: Mapping[str, Any]
    bed: OnsetBed
    verb: Verb
    clean: OnsetReading
    arms: Sequence[tuple[OnsetArm, OnsetReading]]

    def summary(self) -> list[dict[str, Any]]:
        """One row per arm, with the columns of `COLUMNS`; the reading is that of the located features."""
        rows = [self._row(arm, reading) for arm, reading in self.arms]
        effects = self.effects()
        rows[0] |= _shift_ends("over_row", effects.over_row) | _shift_ends("over_active", effects.over_active)
        rows[0] |= {"also": effects.also, "reading": effects.reading, "reason": effects.reason}
        return rows

    def onsets(self) -> Iterator[dict[str, Any]]:
        """One row per arm, place, kind of sentence and kind of moment (`onset_table.COLUMNS`)."""
        for arm, reading in self.arms:
            for moments, before, after in zip(self._moments, self.clean, reading, strict=True):
                tags = dict(self.tags) | {"place": moments.place, "arm": arm.name, "dose": arm.amount}
                names = self.bed.onsets.names
                yield from onset_rows(tags, names, moments, untouched=before, touched=after)

    def effects(self) -> OnsetEffects:
        """What the located features do, with the signs that count."""
        located, reading = self.arms[0]
        others = {arm.name: self._change(read) for arm, read in self.arms[1:]}
        active = [change for name, change in others.items() if name != ROW]
        most = max(active, key=lambda change: self._sign * change.mean(), default=None)
        return OnsetEffects(
            str(self.tags["behaviour"]),
            _shift(self._sign * self._change(reading), self.bed.opportunities.problems),
            self._beside(reading),
            over_row=self._over(reading, others.get(ROW)),
            over_active=self._over(reading, most),
            direct=self.bed.direct_share(located, self.clean, reading),
        )

    @property
    def _moments(self) -> tuple[BehaviourMoments, BehaviourMoments]:
        return self.bed.opportunities, self.bed.elsewhere

    @property
    def _sign(self) -> float:
        return 1.0 if self.verb == "clamp" else -1.0

    @property
    def _kind(self) -> int:
        return self.bed.onsets.names.index(self.bed.opportunities.behaviour)

    def _change(self, reading: OnsetReading) -> np.ndarray:
        """[moment] of its own onset at the opportunities."""
        return np.exp(reading.opportunities[:, self._kind]) - np.exp(self.clean.opportunities[:, self._kind])

    def _over(self, reading: OnsetReading, control: np.ndarray | None) -> Shift | None:
        """What the located features do beyond a control."""
        if control is None:
            return None
        difference = self._sign * (
            self._change(reading) - control
        )  # of two probabilities: the untouched cancels
        return _shift(difference, self.bed.opportunities.problems)

    def _beside(self, reading: OnsetReading) -> dict[str, Shift]:
        """What else moves, a rise being damage.

        A clamp should raise no other onset, and not its own where the behaviour could not begin. An ablation
        takes its own onset away, so that others must rise there; it should lower none where its author wrote
        it.
        """
        changes = list(self._collateral(reading))
        return {name: _shift(values, problems, n_beside=len(changes)) for name, values, problems in changes}

    def _collateral(self, reading: OnsetReading) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, [moment] change that counts against it, [moment] problem."""
        parts = list(zip(self._moments, self.clean, reading, strict=True))
        change = [np.exp(after) - np.exp(before) for _, before, after in parts]
        for kind, name in enumerate(self.bed.onsets.names):
            if self.verb == "clamp":
                for (moments, _, _), moved in zip(parts, change, strict=True):
                    if kind != self._kind or moments is self.bed.elsewhere:
                        yield f"{name} {moments.place}", moved[:, kind], moments.problems
            elif kind != self._kind:
                written = [moments.written == name for moments, _, _ in parts]
                problems = np.concatenate(
                    [moments.problems[rows] for (moments, _, _), rows in zip(parts, written, strict=True)]
                )
                if len(np.unique(problems)) >= MIN_PROBLEMS:
                    lost = [-moved[rows, kind] for moved, rows in zip(change, written, strict=True)]
                    yield f"{name} where it is written", np.concatenate(lost), problems

    def _row(self, arm: OnsetArm, reading: OnsetReading) -> dict[str, Any]:
        value, before = reading.opportunities[:, self._kind], self.clean.opportunities[:, self._kind]
        away = np.exp(reading.elsewhere[:, self._kind]) - np.exp(self.clean.elsewhere[:, self._kind])
        elsewhere = mean_interval(away, self.bed.elsewhere.problems, bounds=CONTRAST)
        problems = self.bed.opportunities.problems
        return dict(self.tags) | {
            "arm": arm.name,
            "features": ", ".join(map(str, arm.features)),
            "amount": arm.amount,
            "kl": arm.kl,
            "kl_target": arm.target,
            "kl_shortfall": 1 - arm.kl / arm.target if arm.target > 0 else nan,
            "untouched": mean_interval(np.exp(before), problems, bounds=SHARE).estimate,
            "value": mean_interval(np.exp(value), problems, bounds=SHARE).estimate,
            **_ends("change", mean_interval(self._change(reading), problems, bounds=CONTRAST)),
            **_ends("elsewhere", elsewhere),
            **_ends("over_row", None),
            **_ends("over_active", None),
            **_ends("direct_share", self.bed.direct_share(arm, self.clean, reading)),
            "also": "",
            "reading": "",
            "reason": "",
        }


def _shift(values: np.ndarray, problems: np.ndarray, *, n_beside: int = 1) -> Shift:
    """Args: n_beside: intervals that are to hold at once (Bonferroni)."""
    level = 1 - (1 - LEVEL) / n_beside
    return Shift(
        mean_interval(values, problems, bounds=CONTRAST, level=level),
        mean_interval(values, problems, bounds=CONTRAST, level=2 * LEVEL - 1),
    )


def _shift_ends(name: str, shift: Shift | None) -> dict[str, float]:
    return _ends(name, None if shift is None else shift.interval)


def _ends(name: str, interval: Interval | None) -> dict[str, float]:
    """A number with its interval as three columns; NaN where it was not measured."""
    numbers = (nan, nan, nan) if interval is None else (interval.estimate, interval.low, interval.high)
    return dict(zip((name, f"{name}.low", f"{name}.high"), numbers, strict=True))
