"""How likely a behaviour is to begin at a boundary: by its first tokens, and by what a model then writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
import pandas as pd

from reasonmech.behaviours import label
from reasonmech.behaviours.base import Behaviour, definition_of, find_behaviour
from reasonmech.behaviours.onset_sets import OnsetSet, OnsetSets
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.characters import token_pieces
from reasonmech.labels import Definition, Labels
from reasonmech.locate.rows.context import next_token
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import continue_ids
from reasonmech.stats import MIN_PROBLEMS, SHARE, Interval, auroc, mean_interval, paired_bootstrap
from reasonmech.taxonomies.text import cut

FIRST_TOKENS, SAMPLED = "first tokens", "sampled continuations"


@checked
@final
@dataclass(frozen=True)
class OnsetSampling:
    """How continuations are drawn.

    Attributes:
        samples: per boundary.
        max_new_tokens: of one; a sentence that is not at its end by then is undecided.
        boundaries: at most so many, evenly drawn.
    """

    samples: Positive = 8
    max_new_tokens: Positive = 48
    boundaries: Positive = 200
    batch_size: Positive = 32
    seed: Seed = 0


class Cost(NamedTuple):
    """What one way took: tokens read and written by the model, and seconds of this machine."""

    tokens_read: int
    tokens_written: int
    seconds: float


@checked
@final
@dataclass(frozen=True, eq=False)
class OnsetEstimates:
    """Two estimates of P(the next sentence is one), at the same boundaries of the same texts.

    Attributes:
        frame: a row per boundary: rollout, position (of the last token before it), problem, began (what the
            author of the text did there), first_tokens (probability of the set at temperature 1), sampled
            (share of decided continuations; NaN where none is), decided (how many are).
        undecided: share of all continuations.
        costs: by way.
    """

    behaviour: str
    definition: Definition
    frame: pd.DataFrame
    undecided: float
    costs: Mapping[str, Cost]

    def __repr__(self) -> str:
        return f"OnsetEstimates({self.behaviour} ({self.definition}) at {len(self.frame)} boundaries)"

    @property
    def difference(self) -> Interval:
        """Sampled less first tokens, mean over problems, at the boundaries that both have."""
        both = self.frame.dropna(subset=["sampled"])
        return paired_bootstrap(both["sampled"], both["first_tokens"], both["problem"])

    def table(self) -> pd.DataFrame:
        """A row per way: mean probability with its interval by problem, how well it tells where the author
        began (AUROC; NaN with fewer than five problems of either kind), and what it took."""
        rows = []
        for way, column in ((FIRST_TOKENS, "first_tokens"), (SAMPLED, "sampled")):
            rows_of = self.frame.dropna(subset=[column])
            mean = mean_interval(rows_of[column], rows_of["problem"], bounds=SHARE)
            tells = _tells(rows_of, column)
            about = {"behaviour": self.behaviour, "definition": self.definition, "way": way}
            values = {"probability": mean.estimate, "low": mean.low, "high": mean.high,
                      "began": float(np.mean(rows_of["began"].to_numpy())),
                      "auroc": tells.estimate, "auroc.low": tells.low, "auroc.high": tells.high,
                      "n_boundaries": len(rows_of), "n_problems": rows_of["problem"].nunique(),
                      "undecided": self.undecided if way == SAMPLED else 0.0}  # fmt: skip
            rows.append(about | values | self.costs[way]._asdict())
        return pd.DataFrame(rows)


def _tells(rows: pd.DataFrame, column: str) -> Interval:
    sides = (rows.loc[rows["began"], "problem"], rows.loc[~rows["began"], "problem"])
    if min(side.nunique() for side in sides) < MIN_PROBLEMS:
        return Interval(float("nan"), 0.0, 1.0)
    return auroc(rows[column].to_numpy(), rows["began"].to_numpy(), rows["problem"].to_numpy())


@checked
def onset_estimates(
    host: Host,
    traces: Sequence[Trace],
    *,
    behaviour: str | Behaviour,
    onsets: OnsetSet | OnsetSets,
    sampling: OnsetSampling | None = None,
    parse: Callable[[Rollout], Trace] | None = None,
) -> OnsetEstimates:
    """P(behaviour begins) at boundaries of texts that this model read, in two ways.

    First tokens: the probability of the set, from one pass over each text; as right as its precision and
    recall. Sampled continuations: the model writes on behind the very tokens of the text at temperature 1,
    and the behaviour is asked of what it wrote.

    Args:
        traces: in this host's tokens.
        behaviour: one that tells its sentences from the trace that `parse` makes: `words:venhoff/...`.
        onsets: its first tokens, learnt on other texts (`rm.behaviours.learn_onset_sets`); or the sets of
            several behaviours, of which this one's is taken.
        sampling: None: `OnsetSampling()`.
        parse: from a rollout to its trace; None: `rm.text.cut`. A task's own: `tasks.get(name).parse`; what
            its environment would write is not written here.

    Raises:
        DataError: no opportunity; a set of another behaviour; no continuation came to an end.
    """
    sampling, labeller = sampling or OnsetSampling(), find_behaviour(behaviour)
    name = behaviour if isinstance(behaviour, str) else labeller.name
    if isinstance(onsets, OnsetSets):
        onsets = onsets.of(name)
    if onsets.behaviour != name:
        raise DataError(
            f"first tokens of {onsets.behaviour!r} for behaviour {name!r}",
            allowed="the set of this behaviour",
            do=f"onsets.of({name!r})",
        )
    labels = label(traces, behaviour)
    n = min(sampling.boundaries, len(labels))
    labels = labels.take(np.arange(n) * len(labels) // n)
    rollouts = [trace.rollout for trace in traces]
    started = time.perf_counter()
    used, row = np.unique(labels.rollout, return_inverse=True)  # texts without a boundary are not read
    read = [rollouts[r] for r in used.tolist()]
    of_read = replace(labels, rollout=row, rollouts=read)
    by_token = next_token(host, read, of_read, onsets.tokens)["onset_probability"].to_numpy()
    n_read = sum(len(rollout.all_ids) for rollout in read)
    first = Cost(n_read, 0, time.perf_counter() - started)
    started = time.perf_counter()
    longer = _continued(host, rollouts, labels, sampling)
    traced = (
        cut([one for one, _ in longer], host.tokenizer) if parse is None else [parse(o) for o, _ in longer]
    )
    begins = np.array([_begins(t, labeller, at) for t, (_, at) in zip(traced, longer, strict=True)])
    begins = begins.reshape(n, sampling.samples)
    n_read = sampling.samples * int(labels.position.sum() + n)
    n_written = sum(len(rollout.ids) - offset for rollout, offset in longer)
    costs = {FIRST_TOKENS: first, SAMPLED: Cost(n_read, n_written, time.perf_counter() - started)}
    decided = np.isfinite(begins).sum(1)
    if not decided.any():
        raise DataError(
            f"none of {begins.size} continuations came to the end of its sentence in "
            f"{sampling.max_new_tokens} tokens",
            do="raise max_new_tokens of the sampling",
        )
    sampled = np.divide(np.nansum(begins, axis=1), decided, out=np.full(n, np.nan), where=decided > 0)
    frame = pd.DataFrame(
        {"rollout": labels.rollout, "position": labels.position, "problem": labels.problem,
         "began": labels.positive, "first_tokens": by_token, "sampled": sampled, "decided": decided}
    )  # fmt: skip
    undecided = float(1 - decided.sum() / begins.size)
    return OnsetEstimates(name, definition_of(labeller), frame, undecided, costs)


def _continued(
    host: Host, rollouts: Sequence[Rollout], labels: Labels, sampling: OnsetSampling
) -> list[tuple[Rollout, int]]:
    """Each text up to its boundary with what is written behind it; the offset of the boundary."""
    rows = list(zip(labels.rollout.tolist(), labels.position.tolist(), strict=True))
    decode = Decode(
        max_new_tokens=sampling.max_new_tokens,
        temperature=1.0,
        samples=sampling.samples,
        seed=sampling.seed,
        batch_size=sampling.batch_size,
    )
    prefixes = [rollouts[r].all_ids[: position + 1] for r, position in rows]
    written = continue_ids(host, prefixes, decode=decode, progress=False)
    longer = []
    for i, continuation in enumerate(written):
        r, position = rows[i // sampling.samples]
        text = rollouts[r]
        offset, no = position + 1 - len(text.prompt_ids), (False,) * len(continuation.ids)
        ids = text.ids[:offset] + continuation.ids
        pieces = tuple(token_pieces(host.tokenizer, ids))
        flags = {"by_environment": text.by_environment[:offset] + no, "steered": text.steered[:offset] + no}
        whole = replace(
            text, ids=ids, stop=continuation.stop, text="".join(pieces),
            pieces=pieces if text.pieces else (), **flags,
        )  # fmt: skip
        longer.append((whole, offset))
    return longer


def _begins(trace: Trace, behaviour: Behaviour, offset: int) -> float:
    """Whether it begins at a boundary, 0 or 1; NaN where its sentence has not come to an end."""
    onset = next((o.onset for o in behaviour.opportunities(trace) if o.offset == offset), None)
    if onset is not None:
        return float(onset)
    over = any(s.start > offset for s in trace.sentences) or trace.rollout.stop == "eos"
    return 0.0 if over else float("nan")
