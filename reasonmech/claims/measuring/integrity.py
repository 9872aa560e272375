"""Integrity: is what was measured a measurement of this pair? A check that fails makes a verdict INVALID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch

from reasonmech.claims.evidence import CELLS, DECODINGS, Check, Decoding, Sharpening
from reasonmech.claims.measuring.bench import CELL_ROLES, ROLES, Bench, Role, write_texts
from reasonmech.errors import NoChangeError
from reasonmech.hosts import Host
from reasonmech.hosts.vocabulary import decode
from reasonmech.interventions import Whole, steer
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.forward import forward
from reasonmech.site import Site
from reasonmech.stats import CONTRAST, mean_interval
from reasonmech.tasks import grade, tasks

_SEEN: Final = 20.0  # nats of KL over all texts, from which two models write the same texts with p < 1e-8
_COINCIDENCE: Final = (
    0.10  # share of prompts by which answers may stand in their own more often than in others'
)
_SURE: Final = 0.999  # level at which they must not: 59 problems may be 12 points off by chance
_ROUNDED: Final = 0.05  # share of answers that may change with the batch where weights are of half precision


def check_integrity(bench: Bench, sharpening: Sharpening) -> tuple[Check, ...]:
    """Every check, in the order in which a reader should doubt."""
    return (
        _check_encodings(bench),
        _check_answers(bench.problems),
        _check_zero_vector(bench),
        *_check_repeats(bench),
        _check_problems(bench),
        _check_decoding(bench),
        _check_onsets(bench),
        _check_different(bench, sharpening),
    )


def _check_encodings(bench: Bench) -> Check:
    """Both models read the same prompts, whatever ids they give them."""
    texts = {
        role: [decode(host.tokenizer, host.encode(problem.prompt)) for problem in bench.problems]
        for role, host in (("base", bench.pair.base), ("thinking", bench.pair.thinking))
    }
    n = sum(a != b for a, b in zip(texts["base"], texts["thinking"], strict=True))
    return Check(
        "encodings agree", n == 0, f"{n} of {len(bench.problems)} prompts read otherwise by the two models"
    )


def _check_answers(problems: ProblemSet) -> Check:
    """An answer stands in its prompt no more often than other problems' answers do."""
    words = [problem.prompt.split() for problem in problems]
    inside = np.array([problem.answer in text for problem, text in zip(problems, words, strict=True)])
    others = np.array(
        [
            np.mean([problem.answer in words[(i + k) % len(words)] for k in range(1, min(20, len(words)))])
            for i, problem in enumerate(problems)
        ]
    )
    excess = mean_interval(inside - others, bounds=CONTRAST, level=_SURE)
    return Check(
        "no answer in its prompt",
        excess.low <= _COINCIDENCE,
        f"answers stand in {inside.mean():.1%} of their prompts, and in {others.mean():.1%} of others'",
    )


def _check_zero_vector(bench: Bench) -> Check:
    """Hooks that add nothing change no bit of the logits."""
    changed = []
    for role in ROLES:
        host = bench.host(role)
        texts = bench.free(role, "greedy")[:8]
        site = Site.parse(f"resid_post.{host.n_layers // 2}")
        zero = steer(Whole(site), torch.zeros(host.d_model))
        plain = forward(host, texts, receipt="none").logits
        try:
            hooked = forward(host, texts, zero, receipt="none").logits
        except NoChangeError as error:  # which says that nothing was changed, and hands out what was computed
            hooked = error.result.logits  # pyright: ignore[reportAttributeAccessIssue]
        changed += [role for a, b in zip(plain, hooked, strict=True) if not torch.equal(a, b)]
    return Check(
        "a zero vector changes nothing",
        not changed,
        f"{len(changed)} of {8 * len(ROLES)} texts differ in a bit",
    )


def _check_repeats(bench: Bench) -> Iterator[Check]:
    """The same again gives the same; and so does another batch.

    Texts that another batch writes alike were run twice; where it does not, that batch is run again, so that
    chance is told from the batch.
    """
    n = min(bench.extent.repeated, len(bench.problems))
    for decoding in DECODINGS:
        again, batch, kept = [], [], []
        for role in ROLES:
            first = _repeated(bench, role, decoding, n=n, time=1)
            original = bench.free(role, decoding)[: len(first)]
            differs = _differing(original, first)
            batch += differs
            second = _repeated(bench, role, decoding, n=n, time=2) if any(differs) else first
            again += _differing(first, second)
            kept += list(grade(original) != grade(first))
        yield Check(
            f"{decoding} runs repeat",
            not any(again),
            f"{sum(again)} of {len(again)} texts differ when run twice",
        )
        floor = f"{sum(batch)} of {len(batch)} texts differ in another batch"
        if _is_exact(bench):
            yield Check(f"{decoding} runs do not depend on the batch", not any(batch), floor)
        else:  # half precision: kernels may round otherwise, and what counts are answers
            share = float(np.mean(kept))
            yield Check(
                f"{decoding} runs do not depend on the batch",
                share <= _ROUNDED,
                f"{floor}, {share:.1%} of answers with them (half precision)",
            )


def _repeated(bench: Bench, role: Role, decoding: Decoding, *, n: int, time: int) -> Rollouts:
    """A model's free run on the first n problems, in a batch of as many rows."""
    decode = bench.decode(decoding).model_copy(update={"batch_size": n})
    return bench.runs.rollouts(
        f"repeat{time}.{decoding}.{role}",
        lambda: write_texts(bench.host(role), bench.problems[:n], decode),
        rows=n * decode.samples,
    )


def _differing(a: Sequence[Rollout], b: Sequence[Rollout]) -> list[bool]:
    return [x.ids != y.ids for x, y in zip(a, b, strict=True)]


def _is_exact(bench: Bench) -> bool:
    """Whether both models are in a precision in which a row does not depend on the batch."""
    return all(
        _dtype(host) in (torch.float32, torch.float64) for host in (bench.pair.base, bench.pair.thinking)
    )


def _dtype(host: Host) -> torch.dtype:
    return next(host.model.parameters()).dtype


def _arms(bench: Bench, decoding: Decoding) -> Mapping[str, Rollouts]:
    free = {role: bench.free(role, decoding) for role in ROLES}
    return free | {name: bench.spliced(name, decoding) for name in CELLS}


def _check_problems(bench: Bench) -> Check:
    """Every arm answers every problem, in one order; what was cut off counts as wrong."""
    wrong, n_cut = [], 0
    for decoding in DECODINGS:
        samples = bench.decode(decoding).samples
        expected = [(p.id, sample) for p in bench.problems for sample in range(samples)]
        for name, arm in _arms(bench, decoding).items():
            cut = np.array([rollout.stop != "eos" for rollout in arm])
            n_cut += int(cut.sum())
            if [(r.problem.id, r.sample) for r in arm] != expected or (bench.graded(arm) & cut).any():
                wrong.append(f"{name}, {decoding}")
    detail = f"arms on other problems, or with credit for a cut text: {', '.join(wrong) or 'none'}"
    return Check(
        "all arms answer the same problems", not wrong, f"{detail}; {n_cut} texts cut off, all wrong"
    )


def _check_decoding(bench: Bench) -> Check:
    """Every arm of a decoding was cut off at the same length, and none wrote past it."""
    limit = bench.extent.max_new_tokens
    wrong = []
    for decoding in DECODINGS:
        for name, arm in _arms(bench, decoding).items():
            cut = {len(rollout.ids) for rollout in arm if rollout.stop == "length"}
            if cut - {limit} or max(len(rollout.ids) for rollout in arm) > limit:
                wrong.append(f"{name}, {decoding}")
    return Check(
        "same decoding in every arm",
        not wrong,
        f"arms that were cut off elsewhere than at {limit} tokens: {', '.join(wrong) or 'none'}",
    )


def _check_onsets(bench: Bench) -> Check:
    """In a splice the first sentence is of the kind that its onset model chose by itself."""
    kinds = tasks.get(bench.problems.task).kinds(bench.pair.base.tokenizer)
    n_other, n = 0, 0
    for cell in ("bt", "tb"):
        onset, _ = CELL_ROLES[cell]
        alone = bench.spliced(onset[0] * 2, "greedy")
        for mixed, plain in zip(bench.spliced(cell, "greedy"), alone, strict=True):
            first = [int(kinds.label(torch.tensor(r.ids[:1]))[0]) for r in (mixed, plain)]
            n += 1
            n_other += first[0] != first[1]
    passed = n_other == 0 if _is_exact(bench) else n_other <= _ROUNDED * n
    return Check(
        "onsets are those of the onset model",
        passed,
        f"{n_other} of {n} spliced texts begin with another kind than their onset model chose",
    )


def _check_different(bench: Bench, sharpening: Sharpening) -> Check:
    """Two models whose distributions differ do not write the same texts all the time."""
    name = "arms that should differ do"
    base, thinking = (bench.free(role, "sampled") for role in ROLES)
    n_same = sum(not differs for differs in _differing(base, thinking))
    if bench.is_one_model:
        return Check(name, n_same == len(base), "the two models are one, and write the same")
    tokens = float(np.mean([rollout.n_chosen for rollout in base]))
    expected = float(sharpening.kl.sum()) * tokens
    return Check(
        name,
        n_same < len(base) or expected < _SEEN,
        f"{n_same} of {len(base)} sampled texts are the same, at {expected:.3g} nats between the models",
    )
