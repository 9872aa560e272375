"""Budget curves: how right the answers of one model are by how many of its tokens are the other one's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.hybrid.budget.config import MATCHED, MODEL, OTHER, RANDOM, SECOND, BudgetConfig, Writer
from reasonmech.hybrid.budget.gates import EntropyMatchedGate, OpeningRule, ScoreGate, fit_rules
from reasonmech.hybrid.budget.rows import ends_of, in_points, point_numbers, sentence_of
from reasonmech.hybrid.budget.scores import RandomScore, TokenScore, scores
from reasonmech.hybrid.budget.spending import RankedPlaces, Spending, Spent
from reasonmech.hybrid.decoder import kinds_of
from reasonmech.hybrid.executors import SecondChoice, Takeover
from reasonmech.hybrid.gates import DisagreementGate
from reasonmech.hybrid.log import Bits
from reasonmech.hybrid.parts import Executor, HybridGate
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.stats.curves import CostCurve, cost_of_half, height_above
from reasonmech.stats.problems import check_two_problems
from reasonmech.tasks import tasks


@final
@dataclass(frozen=True, eq=False)
class Budget:
    """Budget curves of a pair.

    Attributes:
        points: a row per writer, ranking, token that is written and share of disagreements: `tokens` replaced
            per text, `percent` of the tokens that models chose, `bits` per text, `accuracy` with its
            interval, `closed` with its interval: the share of the gap to the other model that is closed.
        summary: a row per curve: `height` over the curve `over` [points, mean over the tokens up to where all
            disagreements are replaced] with its interval, `half`: tokens per text for half of what all
            disagreements bring, with its interval (NaN of the writer's own second choice, which goes
            elsewhere).
    """

    points: pd.DataFrame
    summary: pd.DataFrame

    @property
    def sentences(self) -> list[str]:
        """What either writer's curves say, in words."""
        return [sentence_of(rows) for _, rows in self.summary.groupby("writer", sort=False)]

    def __repr__(self) -> str:
        return f"Budget({len(self.points)} points, {len(self.summary)} curves)"

    def _repr_html_(self) -> str:
        return self.summary.to_html(index=False)


@checked
def measure_budget(
    pair: ModelPair,
    problems: ProblemSet,
    *,
    tuning: ProblemSet,
    config: BudgetConfig | None = None,
    decode: Decode | None = None,
    progress: bool = True,
) -> Budget:
    """Replace some of one model's tokens by the other's, the highest ranked first (arXiv 2603.22446).

    Only places count where the two would write different tokens. A ranking opens at those that score highest:
    its thresholds are quantiles of the scores in texts on other problems (`tuning`), in which no token and in
    which every such token is replaced; what it really spends is counted. All curves of a writer begin where
    it writes alone and end where every disagreement is replaced, which greedily is the other model.

    Nulls: `random`, disagreements evenly drawn; `entropy_matched`, drawn as often within each decile of the
    writer's entropy as `divergence` opens; and the writer's own second choice at the same places.

    Args:
        problems: that are answered. tuning: others, on which thresholds are set.
        decode: of every run.

    Raises:
        DataError: fewer than two problems, problems that are in both sets, models that never disagree on the
            tuning problems, a pair without a task.
        UnknownNameError: a ranking that nobody registered.
    """
    config, decode = config or BudgetConfig(), decode or Decode()
    check_two_problems(len(problems))
    vocabularies = [host.tokenizer.get_vocab() for host in (pair.base, pair.thinking)]
    if "thinking" in config.writers and vocabularies[0] != vocabularies[1]:
        raise DataError(
            f"the models of {pair.name!r} call tokens by other names: what the thinking model writes would "
            "be read in the base's",
            allowed="writers: [base]",
            do="measure the one direction: BudgetConfig(writers=('base',))",
        )
    both = sorted({p.id for p in problems} & {p.id for p in tuning})
    if both:
        raise DataError(
            f"{len(both)} problems are in problems and in tuning, such as {both[0]!r}",
            do="set thresholds on other problems: rm.load_task(..., split='tuning')",
        )
    named = tasks.get(problems.task).kinds(pair.thinking.tokenizer) if problems.task else None
    kinds, points, summary = named or kinds_of(pair), [], []
    for writer in config.writers:
        turned = pair if writer == "base" else _reversed(pair)
        curves = _Curves(writer, config, Spending(turned, kinds, decode, progress=False), problems, tuning)
        with tqdm(total=curves.steps, desc=f"budget, {writer} writes", disable=not progress) as bar:
            points += curves.rows(bar)
            summary += curves.summary()
    return Budget(pd.DataFrame(points), pd.DataFrame(summary))


def _reversed(pair: ModelPair) -> ModelPair:
    """The pair in which the thinking model writes and the base is the other one."""
    return ModelPair(f"{pair.name}, reversed", pair.thinking, pair.base, pair.task, accept=pair.accept)


NEVER: Final = ScoreGate(RandomScore(), (OpeningRule(1.0),))  # a uniform number is below 1


class _Curves:
    """All curves of one writer."""

    def __init__(
        self,
        writer: Writer,
        config: BudgetConfig,
        spending: Spending,
        problems: ProblemSet,
        tuning: ProblemSet,
    ) -> None:
        self._writer, self._config, self._spending = writer, config, spending
        self._problems, self._tuning = problems, tuning
        self._spent: dict[tuple[str, str], list[Spent]] = {}  # (ranking, token) -> at each share, 0 and 1 too

    @property
    def steps(self) -> int:
        config = self._config
        nulls = config.draws * (1 + (MATCHED in config.rankings))
        return 3 + len([r for r in config.rankings if r != MATCHED]) + nulls + 2 * len(config.second_choices)

    @cached_property
    def _scores(self) -> dict[str, TokenScore]:
        names = dict.fromkeys((MODEL, *self._config.rankings, *self._config.second_choices))
        pair, kinds = self._spending.pair, self._spending.kinds
        return {name: scores.get(name)(pair, kinds) for name in names if name != MATCHED}

    def rows(self, bar: tqdm) -> Iterator[dict[str, Any]]:
        """A row per point, and the bar moved on."""
        config, spending, problems = self._config, self._spending, self._problems
        places = spending.places(self._tuning, self._scores, Takeover())
        bar.update()
        if not len(places.entropies):
            raise DataError(
                f"the models of {spending.pair.name!r} never disagree on {len(self._tuning)} tuning problems",
                do="there is nothing to replace; see `rm.pairwise.divergence` for how far apart they are",
            )
        (alone,) = spending.spend(problems, NEVER, Takeover())
        bar.update()
        (whole,) = spending.spend(problems, DisagreementGate(), Takeover())
        bar.update()
        for ranking in (*config.rankings, RANDOM):
            drawn = []
            for draw in range(config.draws if ranking in (RANDOM, MATCHED) else 1):
                drawn.append(self._spend(self._gate(ranking, places, draw), Takeover()))
                bar.update()
            self._spent[ranking, OTHER] = [alone, *map(_mean, zip(*drawn, strict=True)), whole]
        for ranking in config.second_choices:
            part = self._spend(self._gate(ranking, places, 0), SecondChoice())
            bar.update()
            (everywhere,) = spending.spend(problems, DisagreementGate(), SecondChoice())
            bar.update()
            self._spent[ranking, SECOND] = [alone, *part, everywhere]
        for (ranking, token), points in self._spent.items():
            for share, point in zip((0.0, *config.shares, 1.0), points, strict=True):
                yield {
                    "writer": self._writer,
                    "ranking": ranking,
                    "token": token,
                    "share": share,
                    "n_problems": len(problems),
                    **point_numbers(point, alone, whole),
                }

    def _spend(self, gate: HybridGate, executor: Executor) -> list[Spent]:
        return self._spending.spend(self._problems, gate, executor, runs=len(self._config.shares))

    def _gate(self, ranking: str, places: RankedPlaces, draw: int) -> HybridGate:
        config = self._config
        rows = len(self._problems) * self._spending.decode.samples
        if ranking == RANDOM:  # a uniform number has its own quantiles
            score = RandomScore(config.seed + draw)
            return ScoreGate(score, fit_rules(np.linspace(0, 1, 10_001), config.shares), rows)
        name = MODEL if ranking == MATCHED else ranking
        values = places.values[name]
        gate = ScoreGate(self._scores[name], fit_rules(values, config.shares), rows)
        if ranking != MATCHED:
            return gate
        matched = EntropyMatchedGate.of(values, places.entropies, gate)
        return replace(matched, seed=config.seed + draw)

    def summary(self) -> Iterator[dict[str, Any]]:
        """A row per curve and what it is held against."""
        curves = {
            key: CostCurve(np.array([p.tokens for p in points]), np.array([p.correct for p in points]))
            for key, points in self._spent.items()
        }
        for (ranking, token), curve in curves.items():
            over = [(RANDOM, OTHER)] if (ranking, token) != (RANDOM, OTHER) else []
            if token == OTHER and (ranking, SECOND) in curves:
                over.append((ranking, SECOND))
            half = None if token == SECOND else cost_of_half(curve, seed=self._config.seed)
            for held in over or [None]:
                height = None if held is None else height_above(curve, curves[held], seed=self._config.seed)
                yield {
                    "writer": self._writer,
                    "ranking": ranking,
                    "token": token,
                    "over": "" if held is None else SECOND if held[1] == SECOND else held[0],
                    **in_points("height", height),
                    **(in_points("half", None) if half is None else ends_of("half", half)),
                }


def _mean(points: Sequence[Spent]) -> Spent:
    """The mean of draws."""
    return Spent(
        np.mean([point.tokens for point in points], axis=0),
        np.mean([point.correct for point in points], axis=0),
        float(np.mean([point.percent for point in points])),
        Bits(*np.mean([point.bits for point in points], axis=0).tolist()),
        float(np.mean([point.length for point in points])),
    )
