"""Traces: how ordinary the thinking model's texts are to the base, and where in them the surprise sits."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.pairwise.base import COLUMNS, ComparedModels, PairMeasure, PairRollouts, measures
from reasonmech.pairwise.distances import entropy
from reasonmech.pairwise.log_probs import host_log_probs
from reasonmech.ranges import Seed
from reasonmech.rollout import STOP, Rollout, Rollouts, Trace
from reasonmech.tasks import parse

OWN: Final = "among the base's own"
HALVES: Final = "the base's, among its others"
SHUFFLED: Final = "its sentences shuffled, among the base's own"
BESIDE: Final = "beside the base's entropy"
CLASSES: Final = ("onset", "value", "end", "other")
"""First token of a sentence; token that states a value; token that ends the text; every other one."""

_CALL: Final = "rm.Decode(samples=16, temperature=1.0), for both models"
_NEAR: Final = 1.0  # nats per trace, within which a surprise is none

Located = Literal["onsets", "executions", "both", "neither", "undecided"]


class _Scored(NamedTuple):
    """What the base makes of one text, at the tokens that its model chose [nats]."""

    surprise: Float[np.ndarray, " token"]
    excess: Float[np.ndarray, " token"]  # surprise minus the base's entropy there

    @property
    def mean(self) -> float:
        return float(self.surprise.mean())


@final
@checked
@dataclass(frozen=True)
class Traces(PairMeasure):
    """Would the base write the thinking model's texts, and if not: at which tokens not?

    All on texts at T = 1, under the base, at the tokens that the writer chose.

    `percentile`: rank of a text's mean -log p among the base's own texts on the problem, ties by halves; .5
    for a model that writes as the base does (after arXiv 2504.13837, which pools two problems). It separates
    what the base would hardly write (tiny-how) from what it writes seldom (tiny-when). Controls: the base's
    texts among its other ones; and the thinking model's with their sentences in another order, which must
    rank higher, or the rank measures fluency alone.

    `excess surprise, CLASS`: sum over a text's tokens of that class of -log p(token) minus the base's
    entropy, which has mean 0 wherever the base itself chose. Timing that differs sits at onsets, an execution
    that differs at values. Control: the base's own texts.

    `same kinds`: share of the base's texts whose sentences are of the kinds, in order, of some text of the
    thinking model on the problem. Control: the same of the base's texts and its other ones.

    Args:
        seed: of the order of shuffled sentences.

    Raises:
        DataError: fewer than two texts of the base on a problem.
    """

    seed: Seed = 0

    @property
    def name(self) -> str:
        return "traces"

    def measure(self, pair: ModelPair, rollouts: PairRollouts) -> pd.DataFrame:
        base, thinking = parse(rollouts.base), parse(rollouts.thinking)
        scored = {"base": _scores(pair.base, base), "thinking": _scores(pair.base, thinking)}
        mixed = _scores(pair.base, [_shuffled(trace, self.seed) for trace in thinking])
        by_problem = _by_problem(base)
        if any(len(numbers) < 2 for numbers in by_problem.values()):
            raise DataError(
                "one text of the base on a problem: nothing to rank another one among",
                allowed="2 texts of each model on every problem, 16 or more to tell ranks apart",
                do=f"generate with {_CALL}",
            )
        theirs = {name: [scored["base"][i].mean for i in numbers] for name, numbers in by_problem.items()}
        rows = [
            self._ranks("thinking", OWN, thinking, scored["thinking"], theirs),
            self._ranks("thinking", SHUFFLED, thinking, mixed, theirs),
            self._halves(base, scored["base"]),
        ]
        for side, traces in (("thinking", thinking), ("base", base)):
            rows += self._excess(side, traces, scored[side])
        rows += self._same_kinds(base, thinking)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _ranks(
        self,
        text: str,
        compared: str,
        traces: Sequence[Trace],
        scored: Sequence[_Scored],
        theirs: dict[str, list[float]],
    ) -> dict[str, object]:
        ranks = [
            _rank(one.mean, theirs[trace.rollout.problem.id])
            for trace, one in zip(traces, scored, strict=True)
        ]
        return ComparedModels(self.name, text, compared).row(
            "percentile", np.array(ranks), _problems(traces), unit="share"
        )

    def _halves(self, base: Sequence[Trace], scored: Sequence[_Scored]) -> dict[str, object]:
        """Every other text of the base among the rest."""
        first, second = _halved(base)
        theirs = defaultdict(list)
        for i in second:
            theirs[base[i].rollout.problem.id].append(scored[i].mean)
        return self._ranks("base", HALVES, [base[i] for i in first], [scored[i] for i in first], theirs)

    def _excess(
        self, side: str, traces: Sequence[Trace], scored: Sequence[_Scored]
    ) -> list[dict[str, object]]:
        compared, by_class = ComparedModels(self.name, side, BESIDE), defaultdict(list)
        for trace, one in zip(traces, scored, strict=True):
            for name, marks in classes_of(trace).items():
                by_class[name].append(float(one.excess[marks].sum()))
        return [
            compared.row(
                f"excess surprise, {name}", np.array(values), _problems(traces), unit="nats per trace"
            )
            for name, values in by_class.items()
        ]

    def _same_kinds(self, base: Sequence[Trace], thinking: Sequence[Trace]) -> list[dict[str, object]]:
        first, second = _halved(base)
        halves = [base[i] for i in first], [base[i] for i in second]
        rows = []
        for compared, ours, theirs in (("base and thinking", base, thinking), (HALVES, *halves)):
            written = defaultdict(set)
            for trace in theirs:
                written[trace.rollout.problem.id].add(_kinds(trace))
            same = [float(_kinds(trace) in written[trace.rollout.problem.id]) for trace in ours]
            rows.append(
                ComparedModels(self.name, "base", compared).row(
                    "same kinds", np.array(same), _problems(ours), unit="share"
                )
            )
        return rows


measures.register("traces")(Traces)  # called, so that type checkers keep the class


@checked
def traces(pair: ModelPair, rollouts: PairRollouts, *, seed: Seed = 0) -> pd.DataFrame:
    """`Traces(seed).measure(pair, rollouts)`: rows of `pairwise.COLUMNS`."""
    return Traces(seed).measure(pair, rollouts)


@checked
def locate_surprise(table: pd.DataFrame) -> Located:
    """Where the thinking model's texts surprise the base, of the rows of `Traces`.

    "onsets": it has more than none there, and less than 1 nat a trace at values; "executions": more than 1
    nat at values; "both": both; "neither": less than 1 nat at either. Words alone that changed sit at onsets,
    too (tiny-surface): what is *done* is another question, which `judge` asks.

    Raises:
        DataError: the table has no such rows.
    """
    check_type(table, pd.DataFrame, name="table", allowed="a table of rm.pairwise.traces")
    onset, value = (_interval(table, name) for name in ("onset", "value"))
    at_onsets, at_values = onset.low > 0, value.low > _NEAR
    if at_values:
        return "both" if at_onsets else "executions"
    near = value.low > -_NEAR and value.high < _NEAR
    if near and at_onsets:
        return "onsets"
    if near and onset.low > -_NEAR and onset.high < _NEAR:
        return "neither"
    return "undecided"


class _Interval(NamedTuple):
    low: float
    high: float


def _interval(table: pd.DataFrame, name: str) -> _Interval:
    rows = table[(table["statistic"] == f"excess surprise, {name}") & (table["text"] == "thinking")]
    if len(rows) != 1:
        raise DataError(
            f"{len(rows)} rows of the excess surprise at {name}", do="rm.pairwise.traces(pair, rollouts)"
        )
    row = rows.iloc[0]
    return _Interval(float(row["low"]), float(row["high"]))


@checked
def classes_of(trace: Trace) -> dict[str, Bool[np.ndarray, " token"]]:
    """Which of the tokens that the model chose are of each of `CLASSES`, one each."""
    rollout = trace.rollout
    left = ~np.array(rollout.by_environment, dtype=bool)
    marks = {name: np.zeros(len(left), dtype=bool) for name in CLASSES}
    if rollout.stop != "length":
        marks["end"][-1] = True
    for sentence in trace.sentences:
        at = getattr(sentence, "value_at", None)  # of tasks whose sentences state values
        if at is not None:
            marks["value"][at] = True
        if sentence.kind != STOP:
            marks["onset"][sentence.start] = True
    chosen = left.copy()
    for name in ("end", "onset", "value"):
        marks[name] &= left
        left &= ~marks[name]
    marks["other"] = left
    return {name: of_class[chosen] for name, of_class in marks.items()}


def _scores(base: Host, texts: Sequence[Trace]) -> list[_Scored]:
    rollouts, scored = [trace.rollout for trace in texts], []
    for rollout, log_probs in zip(rollouts, host_log_probs(base, Rollouts(rollouts)), strict=True):
        flags = zip(rollout.ids, rollout.by_environment, strict=True)
        ids = torch.tensor([token for token, written in flags if not written], device=log_probs.device)
        if not len(ids):
            raise DataError(
                f"a text on problem {rollout.problem.id!r} has no token that its model chose",
                do="give texts that the models wrote",
            )
        surprise = -log_probs.gather(1, ids[:, None])[:, 0]
        scored.append(_Scored(surprise.cpu().numpy(), (surprise - entropy(log_probs)).cpu().numpy()))
    return scored


def _shuffled(trace: Trace, seed: Seed) -> Trace:
    """The same sentences in another order, everything else where it was."""
    rollout, sentences = trace.rollout, [s for s in trace.sentences if s.kind != STOP]
    order = list(range(len(sentences)))
    random.Random(f"{seed}|{rollout.problem.id}|{rollout.sample}").shuffle(order)
    parts, at = [], 0
    for place, number in enumerate(order):
        parts += range(at, sentences[place].start)  # what stands between sentences
        parts += range(sentences[number].start, sentences[number].stop)
        at = sentences[place].stop
    parts += range(at, len(rollout.ids))
    return replace(trace, rollout=_with_tokens(rollout, parts))


def _with_tokens(rollout: Rollout, order: Sequence[int]) -> Rollout:
    return replace(
        rollout,
        ids=tuple(rollout.ids[i] for i in order),
        by_environment=tuple(rollout.by_environment[i] for i in order),
    )


def _rank(value: float, among: Sequence[float]) -> float:
    """Share of others that are lower, ties by halves."""
    others = np.asarray(among)
    return float(((others < value) + 0.5 * (others == value)).mean())


def _kinds(trace: Trace) -> tuple[str, ...]:
    return tuple(sentence.kind for sentence in trace.sentences)


def _problems(traces: Sequence[Trace]) -> list[str]:
    return [trace.rollout.problem.id for trace in traces]


def _by_problem(traces: Sequence[Trace]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(_problems(traces)):
        numbers[name].append(number)
    return numbers


def _halved(traces: Sequence[Trace]) -> tuple[list[int], list[int]]:
    """Numbers of every other text of each problem, and of the rest."""
    by_problem = _by_problem(traces).values()
    return [i for those in by_problem for i in those[::2]], [i for those in by_problem for i in those[1::2]]
