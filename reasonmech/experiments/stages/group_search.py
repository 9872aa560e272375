"""The search for groups of features, coder by coder: by how well they tell, and by what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import pandas as pd

from reasonmech.coders import SparseCoder
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.fitting_trials import FittingTrials
from reasonmech.experiments.stages.groups import Group
from reasonmech.experiments.stages.locate import FeatureSearch, SearchScope, search_item
from reasonmech.locate import FeatureStats, FeatureTable, select

ALPHA = 0.05  # false-discovery rate that a feature of a group passes


class CoderWithStats(NamedTuple):
    """A coder with its name, and how often and how strongly its features fire where the base writes."""

    name: str
    coder: SparseCoder
    stats: FeatureStats


class GroupSettings(Protocol):
    """What the stage `groups` says about a search: see its fields."""

    @property
    def wider(self) -> int: ...
    @property
    def rankings(self) -> Sequence[SearchScope]: ...
    @property
    def tries(self) -> int: ...
    @property
    def tries_rollouts(self) -> int: ...


@dataclass(frozen=True, eq=False)
class GroupSearch:
    """The search for a behaviour's groups, coder by coder.

    Attributes:
        table: what the stage `locate` found.
        size: features clamped, at most.
    """

    context: StageContext
    table: FeatureTable
    behaviour: str
    size: int
    settings: GroupSettings

    def groups(self, dictionary: CoderWithStats, trials: FittingTrials, ledger: Ledger) -> list[Group]:
        """Groups of a coder with their effects: the best by AUROC of each ranking, and the best by effect."""
        by_auroc: list[Group] = []
        for ranking in self._rankings(dictionary):
            with ledger.attempt("ranking", self._item(dictionary, ranking)):
                by_auroc.append(self._by_auroc(dictionary, ranking))
        if not by_auroc:
            return []
        tried: dict[frozenset[int], Group] = {}
        for group in [*by_auroc, *self._by_effect(dictionary, trials, by_auroc)]:
            item = f"trial of features {list(group.indices)} of {dictionary.name} for {self.behaviour}"
            if frozenset(group.indices) not in tried:
                with ledger.attempt("trial", item):
                    tried[frozenset(group.indices)] = _with_effects(group, trials, dictionary)
        return list(tried.values())

    def first_cause(self, ledger: Ledger) -> Cause:
        """Why there is no group: the first ranking or trial of the behaviour that failed."""
        rows = [row for row in ledger.missing() if row["part"] in ("ranking", "trial")]
        mine = [row for row in rows if row["item"].endswith(f" for {self.behaviour}")]
        if not mine:
            if (no_coder := self.context.ledger_of("coders").first_cause("coder")) is not None:
                return no_coder
            return Cause(
                "DataError",
                f"stage `locate` was not asked for a search that ranks features for {self.behaviour!r}",
                do="add one of the rankings of stage `groups` to the searches of stage `locate`",
            )
        first = mine[0]
        return Cause(first["error"], first["happened"], first["allowed"], first["do"])

    def _item(self, dictionary: CoderWithStats, ranking: SearchScope) -> str:
        among = f"{ranking.among} of {ranking.source} text"
        return f"features of {dictionary.name} ranked among {among} for {self.behaviour}"

    def _rankings(self, dictionary: CoderWithStats) -> list[SearchScope]:
        """Rankings whose search the stage `locate` was asked for."""
        planned = self.context.ledger_of("locate").planned("search")
        return [one for one in self.settings.rankings if self._search(dictionary, one) in planned]

    def _search(self, dictionary: CoderWithStats, ranking: SearchScope) -> str:
        search = FeatureSearch(source=ranking.source, among=ranking.among)
        return search_item(search, self.behaviour, dictionary.name)

    def _rows(self, dictionary: CoderWithStats, ranking: SearchScope) -> pd.DataFrame:
        frame = self.table.frame
        return frame.loc[
            (frame.behaviour == self.behaviour)
            & (frame.among == ranking.among)
            & (frame.score == "auroc")
            & (frame.source == ranking.source)
            & (frame.coder == dictionary.name)
        ]

    def _by_auroc(self, dictionary: CoderWithStats, ranking: SearchScope) -> Group:
        """The group that tells the behaviour best. Raises DataError: the search failed, or nothing passes."""
        name, coder, stats = dictionary
        item = self._search(dictionary, ranking)
        if (cause := self.context.ledger_of("locate").cause("search", item)) is not None:
            raise cause.of_item(item).as_error()
        rows = self._rows(dictionary, ranking)
        n = max(1, min(self.settings.wider, len(_passing(rows))))
        wider = select(FeatureTable(rows), n, coder=coder, alpha=ALPHA).indices
        clamped = wider[: self.size]
        return Group(
            self.behaviour,
            name,
            str(coder.site),
            ranking.source,
            ranking.among,
            clamped,
            _mean_active(stats, clamped),
            wider,
        )

    def _by_effect(
        self, dictionary: CoderWithStats, trials: FittingTrials, by_auroc: Sequence[Group]
    ) -> list[Group]:
        """Per ranking the features that do most alone, of the best by AUROC, ties by strength."""
        _, coder, stats = dictionary
        best: dict[int, list[int]] = {}
        for i, group in enumerate(by_auroc):
            ranking = SearchScope(source=group.source, among=group.among)  # pyright: ignore[reportArgumentType]
            rows = _passing(self._rows(dictionary, ranking))
            rows = rows.assign(strength=stats.effect[rows.feature.to_numpy(int)])
            rows = rows.loc[rows.strength > 0].sort_values(["train_value", "strength"], ascending=False)
            best[i] = [int(index) for index in rows.feature[: self.settings.tries]]
        union = sorted({index for ranked in best.values() for index in ranked})
        alone = trials.try_alone(coder, union, stats, rollouts=self.settings.tries_rollouts)
        groups = []
        for i, group in enumerate(by_auroc):
            ranked = sorted(best[i], key=lambda index: -alone[index])
            indices = tuple(ranked[: self.size])
            if indices and set(indices) != set(group.indices):
                groups.append(replace(group, indices=indices, mean_active=_mean_active(stats, indices)))
        return groups


def _passing(rows: pd.DataFrame) -> pd.DataFrame:
    """Features that go with the behaviour at the false-discovery rate of a group."""
    return rows.loc[(rows.kind == "feature") & (rows.sign > 0) & (rows.p_adjusted <= ALPHA)]


def _mean_active(stats: FeatureStats, indices: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(stats.mean_active[i]) for i in indices)


def _with_effects(group: Group, trials: FittingTrials, dictionary: CoderWithStats) -> Group:
    """The group with its best dose, its effect beside its control, and what its removal takes away."""
    clamped = trials.try_clamping(dictionary.coder, group.indices, dictionary.stats)
    return replace(
        group,
        dose=clamped.dose,
        effect=clamped.effect,
        control=clamped.control,
        removal=trials.try_ablating(dictionary.coder, group.wider),
        room=1 - trials.untouched[0],
        removable=trials.untouched[1],
    )
