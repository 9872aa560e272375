"""How much of a pair's difference is one of temperature: fitted on some problems, measured on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.claims.evidence import Sharpening
from reasonmech.claims.measuring.bench import ROLES, Bench, write_texts
from reasonmech.pairwise import chosen_log_probs, host_log_probs
from reasonmech.rollout import Rollouts

_COARSE: Final = np.geomspace(0.05, 8.0, 21)
_FINE: Final = 17  # temperatures between the neighbours of the best coarse one
_AT_ONCE: Final = (
    2**17
)  # log-probabilities taken to one temperature after another while they are in the cache
_KEPT: Final = 2**29  # of the base's log-probabilities (2 GiB of float32); more are computed again
_NOTHING: Final = -87.0  # nats; below it float32 has denormal numbers, each of which takes as long as ten
_TIE: Final = 1e-3  # nats; what two kernels of float32 make of one logit is a hundred times less


def measure_sharpening(bench: Bench) -> Sharpening:
    """KL(thinking || base) as it is and at the fitted temperature, argmax, and the base's answers at it.

    On the first sample at T = 1 of both models, at the tokens that they chose; a problem's value is the mean
    over its texts of the mean over a text's tokens.
    """
    n = len(bench.problems)
    fitted = bench.runs.arrays("temperature", lambda: _fit(bench), rows=2 * bench.extent.fitting)
    temperature = float(fitted["temperature"])
    texts = [_first_samples(bench.free(role, "sampled")) for role in ROLES]
    measured = bench.runs.arrays("divergence", lambda: _compare(bench, texts, temperature), rows=2 * n)
    # at T = 1 this is the free run, whose noise it has
    decode = bench.decode("sampled", temperature=temperature)
    tempered = (
        bench.free("base", "sampled")
        if temperature == 1.0
        else bench.write("sampled.tempered.base", bench.pair.base, decode)
    )
    return Sharpening(
        temperature=temperature,
        kl=measured["kl"],
        tempered_kl=measured["tempered_kl"],
        argmax_differs=measured["argmax_differs"],
        tempered=bench.right(tempered),
    )


def _first_samples(rollouts: Rollouts) -> Rollouts:
    return Rollouts([r for r in rollouts if r.sample == 0], task=rollouts.task, writer=rollouts.writer)


def _fit(bench: Bench) -> dict[str, np.ndarray]:
    """The temperature at which the base is nearest to the thinking model, on texts of both on other problems.

    By its mean KL(thinking || base), on a grid and a finer one about its best; 1 where the two are one model.
    """
    if bench.is_one_model:
        return {"temperature": np.array(1.0)}
    decode = bench.decode("sampled").model_copy(update={"samples": 1})
    texts = [write_texts(bench.host(role), bench.questions.fitting, decode) for role in ROLES]
    weighed, coarse, kept = [], [], []
    rows = min(bench.pair.base.vocab_size, bench.pair.thinking.vocab_size)
    fits = sum(len(rollout.ids) for of_writer in texts for rollout in of_writer) * rows <= _KEPT
    for _, base, thinking in _log_probs(bench, texts):
        weighed.append(_Weighed.of(base, thinking))
        coarse.append(weighed[-1].kl(base, _COARSE))
        kept += [base] if fits else []
    best = int(np.argmin(np.mean(coarse, axis=0)))
    around = _COARSE[max(best - 1, 0)], _COARSE[min(best + 1, len(_COARSE) - 1)]
    fine = np.geomspace(*around, _FINE)
    again = (base for of_writer in texts for base in host_log_probs(bench.pair.base, of_writer) if len(base))
    read = kept if fits else again
    each = [text.kl(base, np.append(fine, 1.0)) for text, base in zip(weighed, read, strict=True)]
    kl = np.mean(each, axis=0)
    if kl[-1] <= kl[:-1].min():
        return {"temperature": np.array(1.0)}
    return {"temperature": np.array(fine[int(np.argmin(kl[:-1]))])}


@final
@dataclass(frozen=True)
class _Weighed:
    """What a fit needs of the thinking model in one text: at every temperature T of the base
    KL(thinking || base) = sum p log p - sum p log b / T + sum p * log sum b^(1/T). Float64.

    Attributes:
        total: sum p, which is 1 but for rounding.
        by_itself: sum p log p.
        by_base: sum p log b.
    """

    total: Float[Tensor, " token"]
    by_itself: Float[Tensor, " token"]
    by_base: Float[Tensor, " token"]

    @classmethod
    def of(cls, base: Float[Tensor, "token vocab"], thinking: Float[Tensor, "token vocab"]) -> _Weighed:
        p = thinking.exp()
        inside = p > 0  # 0 log 0 is 0
        terms = (p, torch.where(inside, p * thinking, 0.0), torch.where(inside, p * base, 0.0))
        return cls(*(each.sum(-1, dtype=torch.float64) for each in terms))

    def kl(
        self, base: Float[Tensor, "token vocab"], temperatures: Float[np.ndarray, " temperature"]
    ) -> Float[np.ndarray, " temperature"]:
        """Mean over tokens of KL(thinking || base at each temperature), nats."""
        beta = torch.from_numpy(1 / temperatures).to(base.device)[:, None]
        at_each = self.by_itself - beta * self.by_base + self.total * _log_partition(base, temperatures)
        return at_each.mean(-1).clamp_min(0).cpu().numpy()


def _log_partition(
    base: Float[Tensor, "token vocab"], temperatures: Float[np.ndarray, " temperature"]
) -> Float[Tensor, "temperature token"]:
    """log sum b^(1/T), float64: of the likeliest token exactly, and of the others beside it."""
    by_token = []
    for chunk in base.split(max(1, _AT_ONCE // base.shape[-1])):
        top = chunk.max(-1, keepdim=True)
        behind = (chunk - top.values).scatter_(-1, top.indices, -torch.inf)
        scaled, others = torch.empty_like(behind), []
        for temperature in temperatures.tolist():
            torch.mul(behind, 1 / temperature, out=scaled)
            others.append(scaled.clamp_(min=_NOTHING).exp_().sum(-1))
        first = top.values[:, 0].double() / torch.from_numpy(temperatures).to(base.device)[:, None]
        by_token.append(first + torch.stack(others).double().log1p())
    return torch.cat(by_token, dim=-1)


def _log_probs(bench: Bench, texts: Sequence[Rollouts]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Problem, and the log-probabilities of both models at the tokens chosen in a text on it."""
    for rollouts in texts:
        for rollout, (base, thinking) in zip(rollouts, chosen_log_probs(bench.pair, rollouts), strict=True):
            if len(base):
                yield rollout.problem.id, base, thinking.to(base.device)


def _kl(
    base: Float[Tensor, "token vocab"], thinking: Float[Tensor, "token vocab"], temperatures: np.ndarray
) -> Float[np.ndarray, " temperature"]:
    """Mean over tokens of KL(thinking || base at each temperature), nats."""
    p = thinking.exp()
    inside = p > 0  # 0 log 0 is 0
    gaps = []
    for temperature in temperatures.tolist():
        tempered = (base / temperature).log_softmax(-1)
        gaps.append(float(torch.where(inside, p * (thinking - tempered), 0.0).sum(-1).mean().clamp_min(0)))
    return np.array(gaps)


def _differs(base: Float[Tensor, "token vocab"], thinking: Float[Tensor, "token vocab"], tie: float) -> float:
    """Share of tokens where either model's likeliest token is less likely than the other's by more than a
    tie."""
    best_base, best_thinking = base.argmax(-1, keepdim=True), thinking.argmax(-1, keepdim=True)
    behind_base = base.gather(-1, best_base) - base.gather(-1, best_thinking)
    behind_thinking = thinking.gather(-1, best_thinking) - thinking.gather(-1, best_base)
    return float(((behind_base > tie) & (behind_thinking > tie)).float().mean())


def _compare(bench: Bench, texts: Sequence[Rollouts], temperature: float) -> dict[str, np.ndarray]:
    """Per problem; where no model chose a token of a problem, nothing differs there."""
    dtype = next(bench.pair.base.model.parameters()).dtype
    tie = max(_TIE, 32 * torch.finfo(dtype).eps)  # logits of 32 are rounded by one eps of theirs
    by_problem: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for problem, base, thinking in _log_probs(bench, texts):
        kl, tempered = _kl(base, thinking, np.array([1.0, temperature]))
        by_problem[problem].append((kl, tempered, _differs(base, thinking, tie)))
    rows = [np.mean(by_problem.get(p.id, [(0.0, 0.0, 0.0)]), axis=0) for p in bench.problems]
    kl, tempered_kl, differs = np.array(rows).T
    return {"kl": kl, "tempered_kl": tempered_kl, "argmax_differs": differs}
