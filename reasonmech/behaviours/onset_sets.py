"""OnsetSets: first tokens with which behaviours begin, learnt on some problems and measured on others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import pandas as pd

from reasonmech.arguments import as_sequence
from reasonmech.behaviours.base import Behaviour, as_traces, definition_of, find_behaviour
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, CorruptFileError, DataError
from reasonmech.files import new_file
from reasonmech.json_text import check_shape, parse_json
from reasonmech.labels import Definition
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import Trace
from reasonmech.stats import MIN_PROBLEMS, Interval, rate_interval

RANDOM_SETS: Final = 200
_FILE: Final = "onset sets"


@checked
@final
@dataclass(frozen=True)
class OnsetSet:
    """First tokens of a behaviour, and how well they tell it on problems that they were not learnt on.

    Precision: of the boundaries at which such a token was written, the share at which the behaviour began.
    Recall: of its onsets, the share that such a token began. Both stand beside what word counts alone give: a
    set of as many tokens, the most frequent ones at boundaries, and sets drawn at random as often as tokens
    are written.

    Attributes:
        tokens: ids; no other behaviour of the same sets has them.
        base_rate: onsets per boundary: the precision of any guess that does not look at the token.
        frequent: precision and recall of the most frequent tokens; NaN where none was written.
        random: means over random sets; `p`: the share of them, and of this one, whose F1 is no smaller.
        n_boundaries, n_onsets, n_problems: held out.
    """

    behaviour: str
    definition: Definition
    tokens: tuple[int, ...]
    precision: Interval
    recall: Interval
    base_rate: float
    frequent: tuple[float, float]
    random: tuple[float, float]
    p: float
    n_boundaries: int
    n_onsets: int
    n_problems: int

    def __repr__(self) -> str:
        return (
            f"OnsetSet({self.behaviour} ({self.definition}): {len(self.tokens)} tokens, precision "
            f"{self.precision}, recall {self.recall})"
        )

    def row(self) -> dict[str, Any]:
        """The set as a row of a table."""
        return {
            "behaviour": self.behaviour, "definition": self.definition, "n_tokens": len(self.tokens),
            "precision": self.precision.estimate,
            "precision.low": self.precision.low, "precision.high": self.precision.high,
            "recall": self.recall.estimate,
            "recall.low": self.recall.low, "recall.high": self.recall.high,
            "base_rate": self.base_rate,
            "frequent.precision": self.frequent[0], "frequent.recall": self.frequent[1],
            "random.precision": self.random[0], "random.recall": self.random[1], "random.p": self.p,
            "n_boundaries": self.n_boundaries, "n_onsets": self.n_onsets, "n_problems": self.n_problems,
        }  # fmt: skip


@checked
@final
@dataclass(frozen=True)
class OnsetSets:
    """First tokens of several behaviours of texts in one tokenizer's tokens.

    Attributes:
        missing: behaviour -> why no set could be learnt.
    """

    sets: tuple[OnsetSet, ...]
    missing: Mapping[str, str]

    def __repr__(self) -> str:
        named = ", ".join(f"{one.behaviour} ({len(one.tokens)} tokens)" for one in self.sets)
        return f"OnsetSets({named or 'none'}; {len(self.missing)} missing)"

    @checked
    def of(self, behaviour: str) -> OnsetSet:
        """The set of a behaviour. Raises DataError, with the reason, where there is none."""
        for one in self.sets:
            if one.behaviour == behaviour:
                return one
        raise DataError(
            f"no onset set of {behaviour!r}: {self.missing.get(behaviour, 'it was not asked for')}",
            allowed=", ".join(one.behaviour for one in self.sets) or "none here",
            do="learn it on more text: rm.behaviours.learn_onset_sets(traces, behaviours)",
        )

    def table(self) -> pd.DataFrame:
        """A row per behaviour: precision and recall, held out, with intervals, beside the nulls."""
        return pd.DataFrame([one.row() for one in self.sets])

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write JSON: what a task takes as `?onsets=PATH`. Raises OutputError where there is a file."""
        content = {"what": _FILE, "sets": [asdict(one) for one in self.sets], "missing": dict(self.missing)}
        with new_file(path, overwrite=overwrite) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1))

    @classmethod
    @checked
    def load(cls, path: str | Path) -> OnsetSets:
        """Read what `save` wrote. Raises CorruptFileError where it is not that."""
        try:
            content = parse_json(Path(path).expanduser().read_bytes())
            check_shape(content, {"what": str, "sets": [dict], "missing": dict})
            sets = [_set_of(dict(row)) for row in content["sets"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"{path} holds no onset sets: {error}",
                allowed="what OnsetSets.save wrote",
                do="learn them again",
            ) from error
        return cls(tuple(sets), content["missing"])


def _set_of(row: dict[str, Any]) -> OnsetSet:
    for name in ("precision", "recall"):
        row[name] = Interval(*row[name]) if isinstance(row[name], list) else Interval(**row[name])
    for name in ("tokens", "frequent", "random"):
        row[name] = tuple(row[name])
    return OnsetSet(**row)


class _Boundaries(NamedTuple):
    """Boundaries of some problems: the token written there, whether the behaviour began, the problem."""

    token: np.ndarray
    onset: np.ndarray
    problem: np.ndarray

    def take(self, rows: np.ndarray) -> _Boundaries:
        return _Boundaries(self.token[rows], self.onset[rows], self.problem[rows])


@checked
def learn_onset_sets(
    traces: Trace | Sequence[Trace],
    behaviours: Sequence[str | Behaviour],
    *,
    least: Positive = 2,
    seed: Seed = 0,
) -> OnsetSets:
    """Learn first tokens on half of the problems, and measure them on the other half.

    Of each behaviour the set is the one with the largest F1 among those that take tokens in the order of
    their share of onsets, which is the best set of all (Lipton, Elkan and Narayanaswamy 2014, theorem 1). A
    token of two sets stays with the one in which its share is larger.

    Args:
        behaviours: registered names, or behaviours.
        least: onsets that a token must have begun to be learnt.

    Returns:
        The sets; a behaviour that begins in too few problems for an interval (5 in either half), or that no
        token tells, is in `.missing`.

    Raises:
        ArgumentError: no traces, or no behaviour. UnknownNameError: no such behaviour.
        DataError: traces of fewer than ten problems.
    """
    traces = as_traces(traces)
    named = as_sequence(behaviours, (str, Behaviour), name="behaviours", allowed="names of behaviours")
    if not named:
        raise ArgumentError("no behaviour to learn first tokens of", allowed="names of behaviours")
    problems = np.unique([trace.rollout.problem.id for trace in traces])
    if len(problems) < 2 * MIN_PROBLEMS:
        raise DataError(
            f"onset sets from {len(problems)} problems",
            allowed=f"at least {2 * MIN_PROBLEMS}: half are learnt on, the others measure",
            do="write more texts",
        )
    learnt_on = np.random.default_rng(seed).permutation(problems)[: len(problems) // 2]
    halves: dict[str, tuple[_Boundaries, _Boundaries]] = {}
    labellers = {one if isinstance(one, str) else one.name: find_behaviour(one) for one in named}
    shares: dict[str, dict[int, float]] = {}
    missing: dict[str, str] = {}
    for name, labeller in labellers.items():
        rows = _boundaries(traces, labeller)
        first = np.isin(rows.problem, learnt_on)
        train, test = rows.take(first), rows.take(~first)
        fewest = min(len(np.unique(half.problem[half.onset])) for half in (train, test))
        if fewest < MIN_PROBLEMS:
            missing[name] = f"it begins in {fewest} problems of one half, of which {MIN_PROBLEMS} are needed"
            continue
        halves[name], shares[name] = (train, test), _best(train, least)
        if not shares[name]:
            missing[name] = f"no token began it {least} times on the problems that are learnt on"
    sets = []
    for name, tokens in _disjoint(shares).items():
        if tokens:
            sets.append(_measured(labellers[name], name, tokens, halves[name], seed))
        elif name not in missing:
            missing[name] = "other behaviours begin with its first tokens more often"
    return OnsetSets(tuple(sets), missing)


def _boundaries(traces: Sequence[Trace], behaviour: Behaviour) -> _Boundaries:
    rows = [
        (trace.rollout.ids[moment.offset], moment.onset, trace.rollout.problem.id)
        for trace in traces
        for moment in behaviour.opportunities(trace)
    ]
    token, onset, problem = zip(*rows, strict=True) if rows else ((), (), ())
    return _Boundaries(
        np.array(token, dtype=int), np.array(onset, dtype=bool), np.array(problem, dtype=object)
    )


def _best(rows: _Boundaries, least: int) -> dict[int, float]:
    """Token -> its share of onsets, of the set with the largest F1."""
    tokens, code = np.unique(rows.token, return_inverse=True)
    n, hits = np.bincount(code), np.bincount(code, weights=rows.onset)
    order = [i for i in np.lexsort((-hits, -hits / n)) if hits[i] >= least]
    if not order:
        return {}
    f1 = 2 * np.cumsum(hits[order]) / (np.cumsum(n[order]) + rows.onset.sum())
    return {int(tokens[i]): float(hits[i] / n[i]) for i in order[: int(np.argmax(f1)) + 1]}


def _disjoint(shares: Mapping[str, Mapping[int, float]]) -> dict[str, tuple[int, ...]]:
    best: dict[int, tuple[float, str]] = {}
    for name, of_token in shares.items():
        for token, share in of_token.items():
            if token not in best or share > best[token][0]:
                best[token] = (share, name)
    return {
        name: tuple(sorted(t for t in of_token if best[t][1] == name)) for name, of_token in shares.items()
    }


def _measured(
    labeller: Behaviour,
    name: str,
    tokens: tuple[int, ...],
    halves: tuple[_Boundaries, _Boundaries],
    seed: int,
) -> OnsetSet:
    train, test = halves
    flagged, ids = np.isin(test.token, tokens), np.unique(test.problem)
    counts = np.array(
        [[(flagged & test.onset & of).sum(), (flagged & of).sum(), (test.onset & of).sum()]
         for of in (test.problem == id for id in ids)]
    )  # fmt: skip
    nothing = Interval(float("nan"), 0.0, 1.0)
    precision = rate_interval(counts[:, 0], counts[:, 1]) if flagged.any() else nothing
    written, n = np.unique(train.token, return_counts=True)
    size = min(len(tokens), len(written))
    frequent = _told(test, written[np.argsort(-n, kind="stable")[:size]])
    draw = np.random.default_rng(seed)
    sets = [_told(test, draw.choice(written, size, replace=False, p=n / n.sum())) for _ in range(RANDOM_SETS)]
    learnt = _f1(_told(test, np.array(tokens)))
    as_good = sum(_f1(told) >= learnt for told in sets)
    told = np.array(sets)
    random = (
        float(np.nanmean(told[:, 0])) if np.isfinite(told[:, 0]).any() else float("nan"),
        float(told[:, 1].mean()),
    )
    return OnsetSet(
        name, definition_of(labeller), tokens, precision, rate_interval(counts[:, 0], counts[:, 2]),
        float(test.onset.mean()), frequent, random, (1 + as_good) / (1 + RANDOM_SETS),
        len(test.token), int(test.onset.sum()), len(ids),
    )  # fmt: skip


def _told(rows: _Boundaries, tokens: np.ndarray) -> tuple[float, float]:
    """Precision (NaN where no such token was written) and recall of a set."""
    flagged = np.isin(rows.token, tokens)
    hits = float((flagged & rows.onset).sum())
    return hits / flagged.sum() if flagged.any() else float("nan"), hits / float(rows.onset.sum())


def _f1(told: tuple[float, float]) -> float:
    precision, recall = told
    return 0.0 if not recall else 2 * precision * recall / (precision + recall)
