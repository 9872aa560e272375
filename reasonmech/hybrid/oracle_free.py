"""An oracle-free controller: which kind of sentence the thinking model would begin, from the base alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Kinds, sentence_starts
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.streams import ChosenTokens, read_streams
from reasonmech.site import Site


@final
@checked
@dataclass(frozen=True, eq=False)
class OnsetProbe:
    """A multinomial logistic regression of the kind that a thinking model begins on the base's stream.

    Attributes:
        site: of the base, read at the token before the sentence.
        mean, scale: [d_model] by which streams are standardised.
        weight, bias: [kind, d_model] and [kind], one row per kind of `categories`.
        categories: numbers of the kinds that it knows.
        prompts: of the problems it was fitted on.
        accuracy: share of sentences of problems left out of a first fit whose kind it names.
    """

    site: Site
    mean: Float[Tensor, " d_model"]
    scale: Float[Tensor, " d_model"]
    weight: Float[Tensor, "kind d_model"]
    bias: Float[Tensor, " kind"]
    categories: tuple[int, ...]
    prompts: frozenset[str]
    accuracy: float

    def __repr__(self) -> str:
        return f"OnsetProbe({self.site}: {len(self.categories)} kinds, accuracy {self.accuracy:.3f} held out)"

    def predict(self, stream: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """Category per row, CPU."""
        x = (stream.float().cpu() - self.mean) / self.scale
        return torch.tensor(self.categories)[(x @ self.weight.T + self.bias).argmax(-1)]

    def at(self, moment: Moment) -> Int[Tensor, " batch"]:
        """Category per row that begins a sentence at this moment; -1 elsewhere.

        Raises:
            DataError: a problem that it was fitted on: it would be judged on what it has seen.
        """
        for row in moment.rows:
            if row.problem.prompt in self.prompts:
                raise DataError(
                    f"the oracle-free controller was fitted on problem {row.problem.id!r}, on which it is to "
                    "be judged",
                    allowed=f"problems other than the {len(self.prompts)} that it was fitted on",
                    do="fit it on another split",
                )
        predicted = torch.full((len(moment.boundary),), -1)
        rows = moment.boundary.nonzero()[:, 0]
        if len(rows):
            predicted[rows] = self.predict(moment.stream(rows, self.site))
        return predicted


@dataclass(frozen=True, eq=False)
class OracleFreeGate:
    """Open where a sentence begins and the probe names another kind than the base would begin."""

    probe: OnsetProbe

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        return moment.boundary & (self.probe.at(moment) != moment.base_category)


@dataclass(frozen=True, eq=False)
class OracleFreeSelector:
    """The kind that the probe names."""

    probe: OnsetProbe

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return self.probe.at(moment).clamp_min(0)


@checked
def fit_onset_probe(
    base: Host, rollouts: Sequence[Rollout], kinds: Kinds, *, site: Site | str = "", held_out: float = 0.2
) -> OnsetProbe:
    """Fit on what a thinking model wrote; the problems are left out of every judgement of the probe.

    Args:
        rollouts: of the thinking model, on fitting problems.
        site: of the base; empty: after its last layer, where it knows most about what it reads.
        held_out: share of the problems on which its accuracy is measured; the probe itself is fitted on all.

    Raises:
        DataError: fewer than two problems, or sentences of one kind only.
        UnknownNameError: no such site.
    """
    at = base.check_site(site or f"resid_post.{base.n_layers - 1}")
    x, y, problem = _sentences(base, as_read_by(base, rollouts), kinds, at)
    problems = sorted(set(problem))
    if len(problems) < 2 or len(set(y)) < 2:
        raise DataError(
            f"{len(problems)} problems and sentences of {len(set(y))} kinds to fit a controller on",
            allowed="2 or more of both",
            do="give more rollouts of the thinking model",
        )
    test = np.isin(problem, problems[: max(1, round(held_out * len(problems)))])
    accuracy = float("nan")
    if len(set(y[~test])) > 1:
        accuracy = float((_Fit.on(x[~test], y[~test]).predict(x[test]) == y[test]).mean())
    fit = _Fit.on(x, y)
    return OnsetProbe(
        at,
        *(
            torch.tensor(values, dtype=torch.float32)
            for values in (fit.mean, fit.scale, fit.weight, fit.bias)
        ),
        categories=fit.categories,
        prompts=frozenset(r.problem.prompt for r in rollouts),
        accuracy=accuracy,
    )


def _sentences(
    base: Host, rollouts: Sequence[Rollout], kinds: Kinds, site: Site
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stream before every sentence that the model began itself, its kind, and its problem."""
    positions, y, problem = [], [], []
    for rollout, starts in zip(rollouts, sentence_starts(kinds, [r.ids for r in rollouts]), strict=True):
        chosen = starts & ~torch.tensor(rollout.by_environment)
        offsets = chosen.nonzero()[:, 0].tolist()
        category = kinds.label(torch.tensor(rollout.ids))
        positions.append([len(rollout.prompt_ids) - 1 + t for t in offsets])
        y += category[offsets].tolist()
        problem += [rollout.problem.prompt] * len(offsets)
    tokens = ChosenTokens([PassRow.of(r) for r in rollouts], positions)
    return read_streams(base, tokens, [site])[site].cpu().numpy(), np.array(y), np.array(problem)


@dataclass(frozen=True, eq=False)
class _Fit:
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    categories: tuple[int, ...]

    @classmethod
    def on(cls, x: np.ndarray, y: np.ndarray) -> _Fit:
        from sklearn.linear_model import LogisticRegression

        mean, scale = x.mean(0), x.std(0) + 1e-6
        model = LogisticRegression(C=1.0, max_iter=1000).fit((x - mean) / scale, y)
        weight, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one row of log-odds
            weight, bias = np.vstack([-weight, weight]) / 2, np.r_[-bias, bias] / 2
        return cls(mean, scale, weight, bias, tuple(int(k) for k in model.classes_))

    def predict(self, x: np.ndarray) -> np.ndarray:
        scores = (x - self.mean) / self.scale @ self.weight.T + self.bias
        return np.array(self.categories)[scores.argmax(1)]
