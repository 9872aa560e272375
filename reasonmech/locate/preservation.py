"""behaviour_preservation: does a behaviour still begin when the model reads a coder's reconstruction?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import as_sequence, check_type
from reasonmech.coders import SparseCoder, check_belongs
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.labels import Labels
from reasonmech.locate.rows.checks import check_is_coder, check_is_labels, check_labels
from reasonmech.locate.rows.context import next_token, onset_probability
from reasonmech.locate.rows.sample import at_most
from reasonmech.locate.scoring.attribution import Onset, first_order_effects
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.site_sinks import sinks_of
from reasonmech.runtime.coder_fit import reconstructed
from reasonmech.runtime.readout import Reading, Run
from reasonmech.site import Site
from reasonmech.stats import DRAWS, MIN_PROBLEMS, Interval, ratio_interval

Outcome = Literal["kept", "lost", "undecided"]
BOUNDS: Final = (0.8, 1.25)  # of spliced / clean, as in bioequivalence: the whole interval has to lie inside
ROWS: Final = 500  # labelled rows that a pass there and back is spent on
SEED: Final = 0


@checked
@final
@dataclass(frozen=True)
class BehaviourPreservation:
    """What a coder's reconstruction leaves of the onsets of a behaviour. Intervals by problem.

    Attributes:
        clean: mean probability, over the labelled rows, that the host begins the behaviour next.
        spliced: the same where the stream at the site is the coder's reconstruction, at every token that is
            no attention sink.
        ratio: spliced / clean.
        error_share: of the first-order effects on the log-odds of the onset, the part that the error node
            carries: sum |g.e| / (sum |g.e| + sum |g.sum_i f_i w_i|) over rows, g the gradient there, e what
            the coder leaves.
        n_rows: labelled rows; n_effects: those of them that `error_share` is from.
    """

    site: str
    behaviour: str
    clean: Interval
    spliced: Interval
    ratio: Interval
    error_share: Interval
    n_rows: int
    n_effects: int

    @property
    def outcome(self) -> Outcome:
        """Kept when the whole interval of the ratio lies in 0.8 to 1.25, lost when all of it lies outside."""
        low, high = BOUNDS
        if self.ratio.high < low or self.ratio.low > high:
            return "lost"
        return "kept" if low <= self.ratio.low and self.ratio.high <= high else "undecided"

    def __str__(self) -> str:
        return (
            f"{self.behaviour} at {self.site}: hazard {self.clean} untouched, {self.spliced} under "
            "reconstruction, "
            f"ratio {self.ratio}; {self.error_share} of first-order effects in the error node"
        )


@checked
def behaviour_preservation(
    host: Host,
    coder: SparseCoder,
    *,
    rollouts: Sequence[Rollout],
    labels: Labels,
    onset_ids: Collection[int],
    draws: Positive = DRAWS,
) -> BehaviourPreservation:
    """The hazard of a behaviour untouched, and where the host reads a coder's reconstruction.

    Cross-entropy is a mean over all tokens and barely knows of a behaviour that is rare: a coder can recover
    0.99 of it and lose the behaviour. What is lost here no feature carries, however well it detects.

    Args:
        labels: opportunities (`Labels.from_opportunities`); whether they are positive plays no part.
        onset_ids: token ids that begin the behaviour; their probabilities are added.
        draws: of the bootstrap by problem.

    Raises:
        ArgumentError: an argument is of the wrong type.
        MismatchError: the coder belongs to another model, or the labels to other rollouts.
        DataError: labels that do not anticipate, no onset id, fewer than 5 problems.
        NonFiniteError: NaN or infinity at its site.
    """
    check_type(host, Host, name="host", allowed="a host", do="rm.behaviour_preservation(host, coder, ...)")
    check_is_coder(coder)
    check_is_labels(labels)
    rollouts = as_sequence(rollouts, Rollout, name="rollouts", allowed="the rollouts that were labelled")
    encoding = "whole numbers: rm.hosts.onset_tokens(host.tokenizer, word)"
    check_type(onset_ids, (list, tuple, set, frozenset), name="onset_ids", allowed="token ids, " + encoding)
    if labels.mode != "anticipates":
        raise DataError(
            f"labels of {labels.behaviour!r} recognise it: inside a span nothing is about to begin",
            allowed="labels that anticipate",
            do="make them with Labels.from_opportunities",
        )
    n_problems = len(np.unique(labels.problem))
    if n_problems < MIN_PROBLEMS:
        raise DataError(
            f"the labels of {labels.behaviour!r} are from {n_problems} problems: too few for an interval",
            allowed=f"at least {MIN_PROBLEMS}",
            do="use more problems",
        )
    check_belongs(coder, host)
    acts = capture(host, rollouts, [coder.site, Site("resid_post", host.n_layers - 1)], progress=False)
    check_labels(acts, labels)
    clean = next_token(host, rollouts, labels, onset_ids, acts=acts)["onset_probability"].to_numpy()
    with reconstructed(host, coder, sinks_of(acts, coder.site)):
        spliced = onset_probability(host, rollouts, labels, onset_ids)
    batch = at_most(labels, ROWS, SEED)
    onset = Onset(host, rollouts, _OnsetSetLogOdds(tuple(sorted(onset_ids))))
    effects = first_order_effects(acts, batch, coder, onset)
    features, error = np.abs(np.asarray(effects.codes.matrix.sum(1)).ravel()), np.abs(effects.error)

    def ratio(numerator: np.ndarray, denominator: np.ndarray, rows: Labels) -> Interval:
        _, problem = np.unique(rows.problem, return_inverse=True)
        top, bottom = np.bincount(problem, numerator), np.bincount(problem, denominator)
        return ratio_interval(top, bottom, draws=draws, seed=SEED)

    ones = np.ones(len(labels))
    return BehaviourPreservation(
        site=str(coder.site),
        behaviour=labels.behaviour,
        clean=ratio(clean, ones, labels),
        spliced=ratio(spliced, ones, labels),
        ratio=ratio(spliced, clean, labels),
        error_share=ratio(error, error + features, batch),
        n_rows=len(labels),
        n_effects=len(batch),
    )


@final
@dataclass(frozen=True)
class _OnsetSetLogOdds:
    """log P(any onset token next) - log P(none)."""

    onset: tuple[int, ...]
    name = "log-odds of the onset"
    unit = "nats"

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        return [()] * n_texts

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        # summed from the other tokens: 1 - P is 0 in float32 where the onset is all but certain
        begins = torch.zeros(reading.logits.shape[1], dtype=torch.bool, device=reading.logits.device)
        begins[list(self.onset)] = True
        return reading.logits[:, begins].logsumexp(-1) - reading.logits[:, ~begins].logsumexp(-1)
