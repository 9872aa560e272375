"""Facts: what is known of single features, from the tokens of traces: what a dashboard draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from reasonmech.errors import DataError
from reasonmech.frames import rows_where
from reasonmech.interventions import Features
from reasonmech.labels import Labels
from reasonmech.locate.feature_summary.profile import TokenLayout, onset_profile, ratio_intervals
from reasonmech.locate.feature_summary.tokens import token_frame
from reasonmech.locate.logit_lens import logit_lens
from reasonmech.locate.rows.checks import check_labels
from reasonmech.locate.rows.codes import Codes
from reasonmech.rollout import Trace
from reasonmech.stats import MIN_PROBLEMS

if TYPE_CHECKING:
    from reasonmech.hosts import Host
    from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.site_sinks import sinks_at, sinks_of

ROWS: Final = 2**14  # tokens read from a store at once


@dataclass(frozen=True)
class DisplayOptions:
    """How much of a feature is shown.

    Attributes:
        top, middle: texts shown: those with the highest activations, and some whose peak lies at the median
            of all texts in which it fires, because the highest ones flatter.
        before, after: tokens shown around the peak.
        reach: tokens before and after an onset in a profile.
        draws: bootstrap draws of the intervals.
        tokens, neighbours: promoted and suppressed tokens, and features with the most similar decoder rows.
    """

    top: int = 8
    middle: int = 4
    before: int = 40
    after: int = 20
    reach: int = 20
    draws: int = 500
    tokens: int = 10
    neighbours: int = 8


@final
@dataclass(frozen=True, eq=False)
class FeatureFacts:
    """What is known of one feature. Rates and means are over generated tokens that the model chose, attention
    sinks left out.

    Attributes:
        feature: index in the coder.
        rate: share of tokens on which it fires.
        mean_active, peak: mean activation where it fires, and the largest one, in activation units; 0 where
            it never does.
        environment_rate: share of the tokens that the environment wrote on which it fires; None where it
            wrote none.
        examples: tokens of some texts: the columns of `token_frame`, activation, where ("top" or "middle").
        kinds: per kind of sentence: kind, rate, low, high (95 %, by problem; NaN where it fires in fewer than
            5), mean_active, n (tokens).
        profile: per behaviour, around its opportunities: see `onset_profile`.
        lens: promoted and suppressed tokens: see `logit_lens`.
        neighbours: feature, cosine (of decoder rows), the most similar first.
    """

    feature: int
    rate: float
    mean_active: float
    peak: float
    environment_rate: float | None
    examples: pd.DataFrame
    kinds: pd.DataFrame
    profile: pd.DataFrame
    lens: pd.DataFrame
    neighbours: pd.DataFrame


def feature_facts(
    features: Features,
    host: Host,
    *,
    traces: Sequence[Trace],
    acts: Activations,
    labels: Sequence[Labels] = (),
    display: DisplayOptions | None = None,
) -> list[FeatureFacts]:
    """What is known of each feature, in the order of `features.indices`.

    Args:
        traces: whose rollouts `acts` was captured from, in the same order.
        acts: activations of `host` at `features.at`, in memory or in a store, which is read by chunks.
        labels: opportunities of behaviours (mode "anticipates"), around which the features are profiled.

    Raises:
        MismatchError: the coder or the activations belong to another model, the labels to other rollouts.
        DataError: the activations are not those of the traces, or labels recognise instead of anticipating.
    """
    display = display or DisplayOptions()
    features.check(host)
    acts.check(host)
    texts = _layout(acts, traces)
    for of_behaviour in labels:
        check_labels(acts, of_behaviour)
        of_behaviour.check_rollouts([trace.rollout for trace in traces])
    codes, environment = _read(features, acts), texts.generated & ~texts.chosen
    sinks = sinks_at(acts, features.at, sinks_of(acts, features.at)).numpy()
    texts = texts._replace(chosen=texts.chosen & ~sinks)  # they are shown, and counted nowhere
    near, frames = _neighbours(features, display.neighbours), _TraceFrames(traces, host)
    lens = logit_lens(host, features, k=display.tokens)
    facts = []
    for number, feature in enumerate(features.indices):
        column = codes.column(number)
        chosen = column[texts.chosen]
        active = chosen[chosen > 0]
        facts.append(
            FeatureFacts(
                feature,
                rate=len(active) / max(1, len(chosen)),
                mean_active=_mean(active),
                peak=float(active.max()) if len(active) else 0.0,
                environment_rate=float((column[environment] > 0).mean()) if environment.any() else None,
                examples=_examples(column, ~sinks, texts, frames, display),
                kinds=_kinds(chosen, texts, draws=display.draws),
                profile=onset_profile(column, texts, labels, reach=display.reach, draws=display.draws),
                lens=rows_where(lens, lens["axis"] == f"{features.coder.name}/{feature}").drop(
                    columns="axis"
                ),
                neighbours=near[number],
            )
        )
    return facts


class _TraceFrames:
    """Traces as frames of tokens, each made when it is first shown."""

    def __init__(self, traces: Sequence[Trace], host: Host) -> None:
        self._traces, self._host = traces, host
        self._frames: dict[int, pd.DataFrame] = {}
        self._shared = Counter((trace.rollout.problem.id, trace.rollout.sample) for trace in traces)

    def of(self, rollout: int) -> pd.DataFrame:
        if rollout not in self._frames:
            trace = self._traces[rollout]
            problem, sample = trace.rollout.problem.id, trace.rollout.sample
            name = f"{problem}, sample {sample}"
            if self._shared[problem, sample] > 1:  # as when both models answer one problem
                name += f", text {rollout}"
            self._frames[rollout] = token_frame(name, trace, self._host, {})
        return self._frames[rollout]


def _layout(acts: Activations, traces: Sequence[Trace]) -> TokenLayout:
    """Where every token stands, checked against the traces."""
    index = acts.index
    rollout = index["rollout"].to_numpy()
    lengths = np.bincount(rollout, minlength=len(traces))
    expected = [len(trace.rollout.all_ids) for trace in traces]
    if len(lengths) != len(traces) or (lengths != expected).any():
        raise DataError(
            f"activations of {len(lengths)} texts and {len(index)} tokens for {len(traces)} traces and "
            f"{sum(expected)} tokens",
            do="capture whole texts, from the rollouts of these traces, in the same order",
        )
    starts = np.cumsum(lengths) - lengths
    kind = np.full(len(index), "", dtype=object)
    for start, trace in zip(starts, traces, strict=True):
        first = start + len(trace.rollout.prompt_ids)
        for sentence in trace.sentences:
            kind[first + sentence.start : first + sentence.stop] = sentence.kind
    generated = index["generated"].to_numpy(dtype=bool)
    by_environment = index["by_environment"].to_numpy(dtype=bool)
    problem = pd.factorize(index["problem"])[0]
    return TokenLayout(rollout, problem, starts, generated, generated & ~by_environment, kind)


def _read(features: Features, acts: Activations) -> Codes:
    """Activations [token, feature], of which only the non-zero ones are kept."""
    pieces = []
    for start in range(0, acts.n_tokens, ROWS):
        x = acts.take(features.at, torch.arange(start, min(start + ROWS, acts.n_tokens)))
        with torch.no_grad():
            codes = features.coder.read(x.to(features.coder.device, features.coder.dtype), features.indices)
        pieces.append(sparse.csr_array(codes.float().cpu().numpy()))
    return Codes(sparse.csc_array(sparse.vstack(pieces)))


def _examples(
    column: np.ndarray,
    counted: np.ndarray,
    texts: TokenLayout,
    frames: _TraceFrames,
    display: DisplayOptions,
) -> pd.DataFrame:
    """Windows around the peak of some texts, of which the tokens that count [token] have one."""
    peaks, shown = np.zeros(len(texts.starts)), texts.generated & counted
    np.maximum.at(peaks, texts.rollout[shown], column[shown])
    order = np.argsort(-peaks, kind="stable")
    firing = order[peaks[order] > 0]
    top, rest = firing[: display.top], firing[display.top :]
    # about the median of all texts in which it fires, the top ones counted but not shown twice
    middle = rest[max(0, (len(firing) - display.middle) // 2 - len(top)) :][: display.middle]
    windows = []
    for where, rollouts in (("top", top), ("middle", middle)):
        for rollout in rollouts.tolist():
            tokens = np.flatnonzero((texts.rollout == rollout) & texts.generated)
            values = column[tokens]
            at = int(np.where(counted[tokens], values, -np.inf).argmax())
            window = slice(max(0, at - display.before), at + display.after + 1)
            windows.append(frames.of(rollout).assign(activation=values, where=where).iloc[window])
    if not windows:
        return frames.of(0).assign(activation=0.0, where="top").iloc[:0]
    return pd.concat(windows, ignore_index=True)


def _kinds(values: np.ndarray, texts: TokenLayout, *, draws: int) -> pd.DataFrame:
    """Per kind of sentence, from activations [token that the model chose]."""
    kind, problem = texts.kind[texts.chosen].astype(str), texts.problem[texts.chosen]
    names, column = np.unique(kind, return_inverse=True)
    counts = np.zeros((int(texts.problem.max()) + 1, len(names)))
    fired = np.zeros_like(counts)
    np.add.at(counts, (problem, column), 1)
    np.add.at(fired, (problem, column), values > 0)
    # a bootstrap of no event is [0, 0], however few tokens there were
    few = (fired > 0).sum(0) < MIN_PROBLEMS
    low, high = (np.where(few, np.nan, end) for end in ratio_intervals(fired, counts, draws=draws))
    n = counts.sum(0)
    means = [_mean(values[(column == i) & (values > 0)]) for i in range(len(names))]
    return pd.DataFrame(
        {
            "kind": [name or "outside sentences" for name in names],
            "rate": fired.sum(0) / n,
            "low": low,
            "high": high,
            "mean_active": means,
            "n": n.astype(int),
        }
    )


def _mean(active: np.ndarray) -> float:
    return float(active.mean()) if len(active) else 0.0


def _neighbours(features: Features, k: int) -> list[pd.DataFrame]:
    """Per feature, the k others whose decoder rows point most nearly the same way."""
    coder = features.coder
    with torch.no_grad():
        rows = torch.nn.functional.normalize(coder.rows(range(coder.d_sae)).float(), dim=-1)
        cosine = rows[list(features.indices)] @ rows.T
    frames = []
    for feature, line in zip(features.indices, cosine, strict=True):
        line[feature] = -torch.inf  # its own neighbour is the feature itself
        best = line.topk(min(k, coder.d_sae - 1))
        frames.append(pd.DataFrame({"feature": best.indices.tolist(), "cosine": best.values.tolist()}))
    return frames
