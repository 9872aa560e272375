"""Validation: how often each rule is right about planted features whose answer is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, final

import numpy as np
import pandas as pd

from reasonmech.frames import rows_where
from reasonmech.locate.falsify.effects import CueCells, Versions
from reasonmech.locate.falsify.published import injection_rule, reason_rule
from reasonmech.locate.falsify.rule import DRIVERS, DriverRule, classify
from reasonmech.simulators import (
    INSERTED,
    PlantedCells,
    PlantedDictionary,
    PlantedFeature,
    planted_cells,
    planted_texts,
    replicates,
)
from reasonmech.stats import clopper_pearson

Read = Literal["exact", "linear"]
OURS: Final = "ours"
UNMATCHED: Final = "ours, positions not matched"
INJECTION: Final = "injection d-rule"
REASON: Final = "ReasonScore > 0"
RULES: Final = (OURS, UNMATCHED, INJECTION, REASON)

EXPECTED: Final = {
    "token": "token-driven",
    "absorbed": "token-driven",
    "context": "context-driven",
    "dormant": "context-driven",
    "conjunctive": "conjunctive",
    "either": "mixed",
    "insertion": "insertion-artefact",
    "position": "no signal",
    "dense": "no signal",
    "silent": "no signal",
}
"""Kind of planted feature -> what a correct instrument says."""

ANSWERS: Final = (
    *DRIVERS,
    "partially token-driven",
    "weakly token-driven",
    "context-dependent",
    "reasoning",
    "other",
)
"""Everything that a rule may say, in the order of columns."""

_ABOUT_THE_BEHAVIOUR: Final = ("context", "dormant", "conjunctive", "either")
_THRESHOLD: Final = 1.0  # activation units: what a linear reader gives below it is taken for nothing


class Setting(NamedTuple):
    """How planted features are drawn and read.

    Attributes:
        pairs: texts in six versions, per draw.
        draws: independent dictionaries.
        seed: of everything.
        read: "exact" gives a rule the true activations, as a perfect coder would; "linear" what the best
            linear reader makes of the residual stream, noise and all.
    """

    pairs: int = 200
    draws: int = 100
    seed: int = 0
    read: Read = "exact"


@final
@dataclass(frozen=True, eq=False)
class Validation:
    """Confusion of rules, in long form.

    Attributes:
        frame: rule, kind, answer (what the rule said), right (whether that is the truth), hits, n, share,
            low, high: the share of the kind's draws in which it said so, with its exact 95 % interval.
        setting: how it was drawn.
    """

    frame: pd.DataFrame
    setting: Setting

    def confusion(self, rule: str) -> pd.DataFrame:
        """[kind, answer] counts of one rule."""
        of_rule = rows_where(self.frame, self.frame["rule"] == rule)
        counts = of_rule.pivot_table(
            index="kind", columns="answer", values="hits", fill_value=0, sort=False
        ).astype(int)
        return counts.reindex(columns=[answer for answer in ANSWERS if answer in counts])

    def accuracy(self) -> pd.DataFrame:
        """[rule, kind] share of right answers with its exact 95 % interval."""
        rows = []
        for rule, kind in dict.fromkeys(zip(self.frame["rule"], self.frame["kind"], strict=True)):
            answers = rows_where(self.frame, self.frame["rule"].eq(rule) & self.frame["kind"].eq(kind))
            right = rows_where(answers, answers["right"])
            share = clopper_pearson(int(right["hits"].to_numpy().sum()), self.setting.draws)
            row = {"rule": rule, "kind": kind, "n": self.setting.draws}
            rows.append(row | {"right": share.estimate, "low": share.low, "high": share.high})
        return pd.DataFrame(rows)


def validate(
    setting: Setting | None = None, *, rule: DriverRule | None = None, progress: bool = True
) -> Validation:
    """Put every rule to planted features of every kind, whose strengths, rates and leaks vary.

    Ours reads the position-matched cells; once more without matching, which shows what matching is for. The
    d-rule reads the neutral texts, plain and with a cue. ReasonScore reads running text, the cues being its
    words.

    Raises:
        DataError: fewer than 20 pairs, or no draw.
    """
    setting = setting or Setting()
    counts: Counter[tuple[str, str, str]] = Counter()

    def draw(seed: int) -> list[tuple[str, str, str]]:
        return _answers(seed, setting, rule or DriverRule())

    for answers in replicates(draw, n=setting.draws, seed=setting.seed, progress=progress):
        counts.update(answers)
    rows = []
    for (name, kind, answer), hits in sorted(counts.items(), key=lambda item: _order(*item[0])):
        share = clopper_pearson(hits, setting.draws)
        row = {
            "rule": name,
            "kind": kind,
            "answer": answer,
            "right": is_right(name, kind, answer),
            "hits": hits,
        }
        rows.append(row | {"n": setting.draws, "share": share.estimate, "low": share.low, "high": share.high})
    return Validation(pd.DataFrame(rows), setting)


def is_right(rule: str, kind: str, answer: str) -> bool:
    """Whether an answer is the truth, in the words that the rule has.

    The d-rule has none for artefacts and silence: whatever it says of them is wrong. ReasonScore is right
    when what it calls reasoning depends on the context.
    """
    if rule == INJECTION:
        if kind in ("token", "absorbed"):
            return answer == "token-driven"
        if kind == "either":
            return "partially" in answer or "weakly" in answer
        return kind in _ABOUT_THE_BEHAVIOUR and answer == "context-dependent"
    if rule == REASON:
        return (answer == "reasoning") == (kind in _ABOUT_THE_BEHAVIOUR)
    return answer == EXPECTED[kind]


def varied_dictionary(seed: int) -> PlantedDictionary:
    """One feature of each kind, with a strength of 2 to 6, a rate of 0.85 to 1 and a leak of 0 to 0.05."""
    rng = np.random.default_rng([seed, 6])
    features = []
    for kind in ("token", "context", "conjunctive", "either", "position", "insertion", "dense", "silent"):
        features.append(_varied(kind, rng, twin=None))
    twin = PlantedFeature("cue 0", "token", cues=(0,), rate=1.0)
    features += [_varied("dormant", rng, twin="context"), twin, _varied("absorbed", rng, twin=twin.name)]
    return PlantedDictionary(tuple(features), seed=seed)


def _varied(kind: str, rng: np.random.Generator, *, twin: str | None) -> PlantedFeature:
    strength, rate, leak = rng.uniform(2.0, 6.0), rng.uniform(0.85, 1.0), rng.uniform(0.0, 0.05)
    return PlantedFeature(kind, kind, strength=strength, rate=rate, leak=leak, twin=twin)  # pyright: ignore[reportArgumentType]


def _answers(seed: int, setting: Setting, rule: DriverRule) -> list[tuple[str, str, str]]:
    planted = varied_dictionary(seed)
    matched = planted_cells(planted, n=setting.pairs, seed=seed)
    apart = planted_cells(planted, n=setting.pairs, seed=seed, position_matched=False)
    texts = planted_texts(planted, n=setting.pairs, seed=seed)
    cells = cells_of(planted, matched, read=setting.read)
    loose = DriverRule(rule.floor, rule.band, rule.share, None, rule.draws, rule.seed)
    running = texts.activations if setting.read == "exact" else _linear(planted, texts.residual)
    unmatched = cells_of(planted, apart, read=setting.read)
    answers_of = {
        OURS: [driven.driver for driven in classify(cells, rule=rule)],
        UNMATCHED: [driven.driver for driven in classify(unmatched, rule=loose)],
        INJECTION: injection_rule(cells.neutral.absent, cells.neutral.cue),
        REASON: reason_rule(running, texts.places.token, words=range(planted.text.n_cues)),
    }
    return [
        (name, feature.kind, answer)
        for name, answers in answers_of.items()
        for feature, answer in zip(planted.features, answers, strict=True)
        if feature.name in EXPECTED
    ]


def cells_of(planted: PlantedDictionary, cells: PlantedCells, *, read: Read = "exact") -> CueCells:
    """Planted cells as a coder would read them; every text is a problem of its own."""

    def version(behaviour: bool, inserted: int) -> np.ndarray:
        if read == "exact":
            return cells.read(behaviour=behaviour, inserted=INSERTED[inserted])
        return _linear(planted, cells.residual(behaviour=behaviour, inserted=INSERTED[inserted]))

    neutral, behaviour = (Versions(*(version(side, i) for i in range(3))) for side in (False, True))
    return CueCells(
        neutral, behaviour, (cells.slot[False], cells.slot[True]), np.arange(len(cells.slot[True]))
    )


def _linear(planted: PlantedDictionary, residual: np.ndarray) -> np.ndarray:
    """The linear unbiased reading of least noise, with what lies below a threshold set to 0."""
    whitened = planted.directions / planted.noise_std**2
    decode = np.linalg.solve(whitened @ planted.directions.T, whitened)  # [feature, d_model]
    activations = (residual - planted.offset) @ decode.T
    return np.where(activations > _THRESHOLD, activations, 0.0)


def _order(rule: str, kind: str, answer: str) -> tuple[int, int, str]:
    return RULES.index(rule), list(EXPECTED).index(kind), answer
