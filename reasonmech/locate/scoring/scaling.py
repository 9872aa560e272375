"""Latent scaling: how much of a feature the other model of a pair carries, on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.locate.p_values import Discovered, by_problem_p
from reasonmech.locate.rows.checks import check_is_activations, check_match
from reasonmech.locate.rows.codes import Firing
from reasonmech.locate.rows.sample import Sample, Search, check_spans
from reasonmech.locate.rows.stream import CELLS, chunks
from reasonmech.locate.scoring.score import ROWS, Measured, Need, Score, SearchData, scores
from reasonmech.ranges import Positive
from reasonmech.runtime.activations.activations import Activations
from reasonmech.stats import LEVEL, MIN_PROBLEMS, bootstrap_weights

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

BLOCK: Final = 2048  # features whose bootstrap draws are in memory at once
TAILS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
SIBLING: Final = Need(
    "sibling",
    "the same tokens, read by the other model of the pair",
    "rm.features.LatentScaling(sibling=rm.capture(pair.thinking, rollouts, [site]))",
)


@checked
@scores.register("nu")
@final
@dataclass(frozen=True, eq=False)
class LatentScaling(Score):
    """nu = beta_sibling / beta_own of every feature: 1 where the sibling carries it as well, 0 where not.

    beta_m is the multiple of f(x) w that best fits what the other features leave of model m's stream,
    beta_m = argmin_b sum |b f(x_own) w - y_m|^2 with y_m = x_m - decode(f(x_m)) + f(x_m) w (Minder et al.
    2025, arXiv 2504.02922, eq. 4, its error form). Theirs scales latents of a crosscoder; here the coder is
    one model's SAE, its own activation gates both fits, and each model's stream is taken apart by the same
    coder. So nu asks whether the sibling's stream holds the feature *in this basis*: after a mere rotation of
    it nu is 0 and nothing was learnt.

    Same-model null: `null_low` to `null_high` hold 95 % of the nu that the coder's own model gets against
    itself when beta is fitted on two random halves of the problems; a nu inside says no more than another
    text would. `p` asks whether nu is 1, problem by problem. No feature is chosen, so nothing is held out:
    value = train_value. `beta` is that of the own model, about 1 where the coder fits this text. NaN, and p =
    1, where a feature never fires.

    Measuring raises MismatchError where coder, activations and labels do not belong together or the two
    stores hold other tokens, DataError on fewer than 5 problems, and NonFiniteError on NaN or infinite
    activations.

    Attributes:
        sibling: the same sites and tokens, read by the other model.
        halves: draws of the null.
    """

    sibling: Activations
    halves: Positive = 200
    unit = "ratio"
    needs = (ROWS, SIBLING)

    def __post_init__(self) -> None:
        check_is_activations(self.sibling, name="sibling")

    def __repr__(self) -> str:
        return f"LatentScaling(sibling {self.sibling.host_name!r}, halves={self.halves})"

    def measure(self, data: SearchData) -> Measured:
        acts, labels, search = data.acts, data.labels, data.search
        check_match(acts, labels, data.coder)
        _check_same_tokens(acts, self.sibling)
        check_spans(labels, search)
        sample = Sample.of(labels)
        if sample.n_problems < MIN_PROBLEMS:
            raise DataError(
                f"{sample.n_problems} problems", allowed=f"at least {MIN_PROBLEMS}", do="use more problems"
            )
        sums = _sum_by_problem(data, self.sibling, sample.problem)
        value = _ratio(sums.sibling.sum(0), sums.model.sum(0))
        parts = (sums.sibling - sums.model).T
        p = np.where(np.isfinite(value), by_problem_p(parts, (sums.fires > 0).sum(0)), 1.0)
        discovered = Discovered(value, np.sign(parts.sum(1)), p, parts.astype(np.float32))
        low, high = _bootstrap(sums, search)
        null_low, null_high = _halves(sums, self.halves, search.seed)
        columns = {"kind": "feature", "feature": np.arange(len(value))}
        columns |= {"value": value, "low": low, "high": high, "null_low": null_low, "null_high": null_high}
        valued = pd.DataFrame(columns | {"beta": _ratio(sums.model.sum(0), sums.size.sum(0))})
        fires = sums.fires.sum(0)
        firing = Firing(fires / len(labels), _ratio(sums.active.sum(0), fires))
        return Measured(labels, sample, discovered, firing, valued)


class _ScalingSums(NamedTuple):
    """[problem, feature] sums over rows.

    Attributes:
        model, sibling: of f <w, y> for the coder's own model, and for its sibling.
        size: of f^2 |w|^2.
        fires: rows on which f fires.
        active: of f.
    """

    model: np.ndarray
    sibling: np.ndarray
    size: np.ndarray
    fires: np.ndarray
    active: np.ndarray


def _check_same_tokens(acts: Activations, sibling: Activations) -> None:
    columns = ["rollout", "position", "token"]
    tokens, read_again = acts.index, sibling.index
    same = (np.array_equal(tokens[name], read_again[name]) for name in columns)
    if len(tokens) != len(read_again) or not all(same):
        raise MismatchError(
            f"{len(tokens)} tokens read by {acts.host_name!r} and {len(read_again)} by "
            f"{sibling.host_name!r} are other ones",
            allowed="two captures of the same text",
            do="capture both models on the same rollouts, in the same order",
        )


@torch.no_grad()
def _sum_by_problem(data: SearchData, sibling: Activations, problem: np.ndarray) -> _ScalingSums:
    coder = data.coder
    decoder = coder.rows(range(coder.d_sae)).float()
    size = decoder.pow(2).sum(-1)
    shape = int(problem.max()) + 1, coder.d_sae
    totals = [torch.zeros(shape, dtype=torch.float64) for _ in _ScalingSums._fields]
    for rows, x, x_sibling in _both(data, sibling):
        f, fit = _fit(coder, x, decoder, size)
        _, sibling_fit = _fit(coder, x_sibling, decoder, size)
        problem_of_row = torch.from_numpy(problem[rows])
        parts = (f * fit, f * sibling_fit, f**2 * size, (f != 0).float(), f)
        for total, part in zip(totals, parts, strict=True):
            total.index_add_(0, problem_of_row, part.double().cpu())
    return _ScalingSums(*(total.numpy() for total in totals))


def _both(data: SearchData, sibling: Activations) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows in chunks that fit as dense codes, read by either model."""
    labels, coder = data.labels, data.coder
    step = max(1, CELLS // coder.d_sae)
    for start in range(0, len(labels), step):
        batch = labels.take(slice(start, start + step))
        x, x_sibling = (
            torch.cat([chunk.x for chunk in chunks(store, batch, coder.site)]).to(coder.device)
            for store in (data.acts, sibling)
        )
        yield slice(start, start + len(batch)), x, x_sibling


def _fit(coder: SparseCoder, x: Tensor, decoder: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Activations f [row, feature], and <w, y> with y = x - decode(f) + f w: what other features leave."""
    f = coder.encode(x)
    rest = (x - coder.decode(f)).float()
    return f.float(), rest @ decoder.T + f.float() * size


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where the bottom is not above 0."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _bootstrap(sums: _ScalingSums, search: Search) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of nu over problems, [feature] each."""
    n, d_sae = sums.model.shape
    low, high = np.full(d_sae, np.nan), np.full(d_sae, np.nan)
    for start in range(0, d_sae, BLOCK):
        block = slice(start, start + BLOCK)
        weights = bootstrap_weights(n, search.draws, search.seed)
        draws = [_ratio(w @ sums.sibling[:, block], w @ sums.model[:, block]) for w in weights]
        low[block], high[block] = _quantiles(np.concatenate(draws))
    return low, high


def _halves(sums: _ScalingSums, halves: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % of beta on one half of the problems over beta on the other, the same model, [feature] each."""
    n = len(sums.model)
    rng = np.random.default_rng([seed, 5])
    first = np.stack([rng.permutation(n) < n // 2 for _ in range(halves)]).astype(np.float64)
    betas = [_ratio(half @ sums.model, half @ sums.size) for half in (first, 1 - first)]
    return _quantiles(_ratio(*betas))


def _quantiles(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two tails of every column; NaN where no draw is defined."""
    defined = np.isfinite(draws).any(0)
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    low[defined], high[defined] = np.nanquantile(draws[:, defined], TAILS, axis=0)
    return low, high
