"""Latent scaling: how much of a feature the other model of a pair carries, on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reasonmech.errors import DataError, MismatchError
from reasonmech.labels import Labels
from reasonmech.locate.p_values import adjusted, by_problem_p
from reasonmech.locate.rows.sample import Search, check_spans, rows_of, take_rows
from reasonmech.locate.rows.stream import CELLS, check_match, chunks
from reasonmech.locate.scoring.score import Discovered
from reasonmech.locate.search import make_table
from reasonmech.locate.table import FeatureTable
from reasonmech.stats import LEVEL, MIN_PROBLEMS, bootstrap_weights

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

BLOCK: Final = 2048  # features whose bootstrap draws are in memory at once
TAILS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


class _Sums(NamedTuple):
    """[problem, feature]: sum of f <w, y> for either model, of f^2 |w|^2, and of tokens on which f fires; sum
    of f."""

    own: np.ndarray
    other: np.ndarray
    size: np.ndarray
    fires: np.ndarray
    active: np.ndarray


def latent_scaling(
    acts: Activations,
    labels: Labels,
    coder: SparseCoder,
    *,
    sibling: Activations,
    halves: int = 200,
    search: Search | None = None,
) -> FeatureTable:
    """nu = beta_sibling / beta_own of every feature: 1 where the sibling carries it as well, 0 where not at
    all.

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

    Args:
        labels: rows; whether they are positive plays no part.
        sibling: the same sites and tokens, read by the other model.
        halves: draws of the null.

    Raises:
        MismatchError: coder, activations and labels do not belong together; the two stores hold other tokens.
        DataError: fewer than 5 problems. NonFiniteError: NaN or infinite activations.
    """
    search = search or Search()
    check_match(acts, labels, coder)
    _check_same_tokens(acts, sibling)
    n_spans = check_spans(labels, search)
    sample = take_rows(labels, np.ones((len(labels), 1)), np.ones(len(labels), dtype=bool))
    if sample.n_problems < MIN_PROBLEMS:
        raise DataError(
            f"{sample.n_problems} problems", allowed=f"at least {MIN_PROBLEMS}", do="use more problems"
        )
    sums = _sums(acts, labels, coder, sibling, sample.problem)
    value = _ratio(sums.other.sum(0), sums.own.sum(0))
    parts = (sums.other - sums.own).T
    p = np.where(np.isfinite(value), by_problem_p(parts, (sums.fires > 0).sum(0)), 1.0)
    found = Discovered(value, np.sign(parts.sum(1)), p, parts.astype(np.float32))
    low, high = _bootstrap(sums, search)
    null_low, null_high = _halves(sums, halves, search.seed)
    fires = sums.fires.sum(0)
    frame = pd.DataFrame(
        {
            "kind": "feature",
            "feature": np.arange(coder.d_sae),
            "train_value": value,
            "sign": found.sign,
            "p": found.p,
        }
        | {"p_adjusted": adjusted(found, search, score="nu"), "value": value, "low": low, "high": high}
        | {"null_low": null_low, "null_high": null_high, "beta": _ratio(sums.own.sum(0), sums.size.sum(0))}
        | {"rate": fires / len(labels), "mean_active": _ratio(sums.active.sum(0), fires)}
    )
    frame = frame.assign(site=str(coder.site), score="nu", unit="ratio", correction=search.correction)
    return make_table(frame, labels, sample, n_spans=n_spans)


def _check_same_tokens(acts: Activations, sibling: Activations) -> None:
    columns = ["rollout", "position", "token"]
    mine, theirs = acts.index, sibling.index
    if len(mine) != len(theirs) or any(not np.array_equal(mine[name], theirs[name]) for name in columns):
        raise MismatchError(
            f"{len(mine)} tokens read by {acts.host_name!r} and {len(theirs)} by {sibling.host_name!r} are "
            "other ones",
            allowed="two captures of the same text",
            do="capture both models on the same rollouts, in the same order",
        )


@torch.no_grad()
def _sums(
    acts: Activations, labels: Labels, coder: SparseCoder, sibling: Activations, problem: np.ndarray
) -> _Sums:
    decoder = coder.rows(range(coder.d_sae)).float()
    size = decoder.pow(2).sum(-1)
    found = [torch.zeros(int(problem.max()) + 1, coder.d_sae, dtype=torch.float64) for _ in _Sums._fields]
    for rows, own, other in _both(acts, labels, coder, sibling):
        own_f, own_fit = _fit(coder, own, decoder, size)
        _, other_fit = _fit(coder, other, decoder, size)
        here = torch.from_numpy(problem[rows])
        for total, part in zip(
            found,
            (own_f * own_fit, own_f * other_fit, own_f**2 * size, (own_f != 0).float(), own_f),
            strict=True,
        ):
            total.index_add_(0, here, part.double().cpu())
    return _Sums(*(total.numpy() for total in found))


def _both(
    acts: Activations, labels: Labels, coder: SparseCoder, sibling: Activations
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows in chunks that fit as dense codes, read by either model."""
    step = max(1, CELLS // coder.d_sae)
    for start in range(0, len(labels), step):
        some = rows_of(labels, slice(start, start + step))
        mine, theirs = (
            torch.cat([x for _, x in chunks(store, some, coder.site)]).to(coder.device)
            for store in (acts, sibling)
        )
        yield slice(start, start + len(some)), mine, theirs


def _fit(coder: SparseCoder, x: Tensor, decoder: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Activations f [row, feature], and <w, y> with y = x - decode(f) + f w: what the others leave, along
    w."""
    f = coder.encode(x)
    rest = (x - coder.decode(f)).float()
    return f.float(), rest @ decoder.T + f.float() * size


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where the bottom is not above 0."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _bootstrap(sums: _Sums, search: Search) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of nu over problems, [feature] each."""
    n, d_sae = sums.own.shape
    low, high = np.full(d_sae, np.nan), np.full(d_sae, np.nan)
    for start in range(0, d_sae, BLOCK):
        some = slice(start, start + BLOCK)
        weights = bootstrap_weights(n, search.draws, search.seed)
        drawn = np.concatenate([_ratio(w @ sums.other[:, some], w @ sums.own[:, some]) for w in weights])
        low[some], high[some] = _quantiles(drawn)
    return low, high


def _halves(sums: _Sums, halves: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % of beta on one half of the problems over beta on the other, the same model, [feature] each."""
    n = len(sums.own)
    rng = np.random.default_rng([seed, 5])
    one = np.stack([rng.permutation(n) < n // 2 for _ in range(halves)]).astype(np.float64)
    betas = [_ratio(half @ sums.own, half @ sums.size) for half in (one, 1 - one)]
    return _quantiles(_ratio(*betas))


def _quantiles(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two tails of every column; NaN where no draw is defined."""
    known = np.isfinite(drawn).any(0)
    low, high = np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    low[known], high[known] = np.nanquantile(drawn[:, known], TAILS, axis=0)
    return low, high
