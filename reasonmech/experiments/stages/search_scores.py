"""Scores of a search: which of them a configuration may name, and what a run gives each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final, Protocol, TypeAlias

from reasonmech.coders import SparseCoder
from reasonmech.errors import ConfigError
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.moments import onset_ids
from reasonmech.locate import Onset, Score, scores
from reasonmech.locate.scoring.score import needed_fields
from reasonmech.metrics import onset_log_odds
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Activations, capture

ScoreSetting: TypeAlias = str | dict[str, Any]  # a kind, or a mapping of its kind and settings


class SearchedText(Protocol):
    """The text of one model, as the base reads it."""

    @property
    def source(self) -> str: ...
    @property
    def rollouts(self) -> Rollouts: ...


@dataclass(frozen=True, eq=False)
class RunScores:
    """Makes the scores of a run; what they need is read once for each text.

    Attributes:
        context: pair and task.
        coders: those whose features are scored.
        siblings: source of a text -> the thinking model's activations on it, once they are read.
    """

    context: StageContext
    coders: Mapping[str, SparseCoder]
    siblings: dict[str, Activations] = field(default_factory=dict)

    def make(self, setting: ScoreSetting, text: SearchedText, behaviour: str) -> Score:
        """The score that a setting names, with all that it needs."""
        kind, settings = kind_and_settings(setting)
        cls = scores.get(kind)
        carried = {need.name: PROVIDERS[need.name](self, text, behaviour) for need in needed_fields(cls)}
        return cls(**settings, **carried)

    def onset(self, text: SearchedText, behaviour: str) -> Onset:
        """The base's log-odds of beginning the behaviour with one of its words."""
        host = self.context.pair.base
        words = [(token,) for token in onset_ids(host, self.context.problems.task, behaviour)]
        return Onset(host, text.rollouts, onset_log_odds(host, words, single=True))

    def sibling(self, text: SearchedText, behaviour: str) -> Activations:
        """The same text, read by the thinking model."""
        if text.source not in self.siblings:
            thinking, progress = self.context.pair.thinking, self.context.progress
            sites = list(dict.fromkeys(str(coder.site) for coder in self.coders.values()))
            self.siblings[text.source] = capture(thinking, text.rollouts, sites, progress=progress)
        return self.siblings[text.source]


PROVIDERS: Final[Mapping[str, Callable[[RunScores, SearchedText, str], object]]] = {
    "onset": RunScores.onset,
    "sibling": RunScores.sibling,
}


def kind_and_settings(setting: ScoreSetting) -> tuple[str, dict[str, Any]]:
    """The kind of a score, and the settings that stand beside it."""
    if isinstance(setting, str):
        return setting, {}
    settings = dict(setting)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(
            f"a score whose kind is {kind!r}",
            allowed=", ".join(scores.kinds()),
            do="write its kind, or a mapping such as {kind: nu, halves: 100}",
        )
    return kind, settings


def check_score(setting: ScoreSetting) -> ScoreSetting:
    """The setting, if a run can measure it.

    Raises:
        UnknownNameError: no such kind.
        ConfigError: a run does not have what the score needs, or the score has no such setting.
    """
    kind, settings = kind_and_settings(setting)
    cls = scores.get(kind)
    needs = needed_fields(cls)
    if missing := [need for need in needs if need.name not in PROVIDERS]:
        what = " and ".join(f"{need.name} ({need.what})" for need in missing)
        raise ConfigError(
            f"score {kind!r} needs {what}, which a run does not have",
            allowed=f"scores that need nothing but labels, {' or '.join(PROVIDERS)}",
            do=f"rm.locate(acts, labels, coder, score={missing[0].give})",
        )
    allowed = [f.name for f in fields(cls) if f.init] if is_dataclass(cls) else []
    names = [name for name in allowed if name not in PROVIDERS]
    if unknown := [name for name in settings if name not in names]:
        raise ConfigError(
            f"score {kind!r} has no setting {', '.join(map(str, unknown))}",
            allowed=", ".join(names) or "none: name its kind alone",
        )
    return setting
