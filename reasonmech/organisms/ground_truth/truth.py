"""The truth of a pair, measured by splicing and forcing, with its error: what `truth.json` holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from reasonmech.behaviours import onset_rate, verified_rate
from reasonmech.behaviours.label import Rate
from reasonmech.door import checked
from reasonmech.hosts import Host
from reasonmech.organisms.ground_truth.forced import forced_prompts, forced_rates, value_task
from reasonmech.organisms.ground_truth.slips import slips_undone
from reasonmech.organisms.ground_truth.splice import SplicedDecoder, splice
from reasonmech.organisms.training.context import with_prompt
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.stats import SHARE, Interval, factorial, mean_interval, paired_bootstrap, rate_interval
from reasonmech.tasks import Split, grade, parse, tasks

Json = dict[str, Any]
CELLS: Final = (("base", "base"), ("base", "thinking"), ("thinking", "base"), ("thinking", "thinking"))
_TOKENS: Final = 224  # room for every solution that checks each of five steps and redoes some


@checked
@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        problems, split, seed: on which problems.
        samples: rollouts per problem at T = 1, for hazards and sampled accuracy.
        forced: onsets forced per behaviour and model, at least.
        coverage: k of process-verified pass@k of the base (0: not measured).
        coverage_problems: of those problems, how many it is measured on.
        dialled: of those problems, how many the dial is tabulated on.
    """

    problems: int = 500
    split: Split = "confirmation"
    seed: Seed = 0
    samples: Positive = 4
    forced: int = 2000
    coverage: int = 64
    coverage_problems: int = 100
    dialled: Positive = 200


@checked
def measure_truth(
    base: Host, thinking: Host, problems: ProblemSet, *, effort: Effort | None = None, progress: bool = True
) -> Json:
    """Everything that is certain about a pair by construction or exact simulation, as JSON.

    Rates are in [0, 1] with 95 % intervals by problem. Under `outcomes` stands what was right problem by
    problem, in the order of the problems, for `verify` to compare with.
    """
    effort = effort or Effort()
    seed, coverage = effort.seed, effort.coverage
    hosts = {"base": base, "thinking": thinking}
    bar = tqdm(total=2 * len(hosts) + len(CELLS) + 2, desc="truth", disable=not progress)
    free, sampled = {}, {}
    result: Json = {"task": problems.task, "n_problems": len(problems), "seed": seed}
    for name, host in hosts.items():
        free[name] = _run(host, problems, Decode(max_new_tokens=_TOKENS, batch_size=256))
        bar.update()
        sampled[name] = _run(
            host,
            problems,
            Decode(
                max_new_tokens=_TOKENS, temperature=1.0, samples=effort.samples, seed=seed, batch_size=256
            ),
        )
        bar.update()
        result[name] = _free_running(free[name], sampled[name], problems.task)
    cells = {}
    for onset, executor in CELLS:
        spliced = splice(onset=hosts[onset], executor=hosts[executor], task=problems.task)
        cells[onset, executor] = grade(
            _run(spliced, problems, Decode(max_new_tokens=_TOKENS, batch_size=256))
        ).astype(float)
        bar.update()
    free_right = {name: grade(runs).astype(float) for name, runs in free.items()}
    result["outcomes"] = {
        "greedy": {name: bits(right) for name, right in free_right.items()},
        "spliced": {f"{onset}-{executor}": bits(right) for (onset, executor), right in cells.items()},
    }
    result["splice"] = splice_effects(result["outcomes"])
    result["execution"] = _execution(hosts, sampled, effort, problems.task)
    bar.update()
    if coverage:
        verified = verified_counts(base, problems[: effort.coverage_problems], k=coverage, seed=seed)
        result["base"][f"pass@{coverage}_verified"] = _interval(
            mean_interval(np.array(verified) > 0, bounds=SHARE)
        )
        result["outcomes"][f"pass@{coverage}_verified"] = " ".join(map(str, verified))
    bar.update()
    bar.close()
    return result


@checked
def measure_prompted(base: Host, problems: ProblemSet, words: str, *, effort: Effort) -> Json:
    """What the base does by itself when words stand before every problem: as `measure_truth` has it of a
    model."""
    prompted = with_prompt(problems, words)
    greedy = _run(base, prompted, Decode(max_new_tokens=_TOKENS, batch_size=256))
    decode = Decode(
        max_new_tokens=_TOKENS, temperature=1.0, samples=effort.samples, seed=effort.seed, batch_size=256
    )
    sampled = _run(base, prompted, decode)
    return {"words": words} | _free_running(greedy, sampled, problems.task)


def _run(decoder: Host | SplicedDecoder, problems: ProblemSet, decode: Decode) -> Rollouts:
    return generate(decoder, problems, decode=decode, progress=False, receipt="none")


def _rate(by_problem: Collection[Rate]) -> Json:
    """A rate with its interval by problem, of how many opportunities in how many problems that have one."""
    hits, n = np.array(list(by_problem)).T
    if not n.any():
        return {"estimate": None, "n": 0}
    return _interval(rate_interval(hits, n)) | {"n": int(n.sum()), "n_problems": int((n > 0).sum())}


def _per_problem(traces: Sequence[Trace], count: Callable[[Sequence[Trace]], Rate]) -> Json:
    """A rate over all traces, with an interval whose unit is the problem."""
    problems: dict[str, list[Trace]] = {}
    for trace in traces:
        problems.setdefault(trace.rollout.problem.id, []).append(trace)
    return _rate([count(of_problem) for of_problem in problems.values()])


def _interval(interval: Interval) -> Json:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _mean(values: np.ndarray) -> Json:
    standard_error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _interval(mean_interval(values, bounds=SHARE)) | {"standard_error": standard_error}


def _free_running(greedy: Rollouts, sampled: Rollouts, task: str) -> Json:
    row: Json = {}
    for name, runs in (("greedy", greedy), ("sampled", sampled)):
        traces = parse(runs)
        row[name] = {
            "accuracy": _mean(grade(runs).astype(float).reshape(-1, len(runs) // len(greedy)).mean(axis=1)),
            "slips_undone": _per_problem(traces, slips_undone),
            "onset": {
                kind: _per_problem(traces, lambda traces, kind=kind: onset_rate(traces, kind))
                for kind in ("check", "backtrack", "plan", "uncertain")
            },
            "execution": {
                kind: _per_problem(traces, lambda traces, kind=kind: verified_rate(traces, kind))
                for kind in ("step", "check", "backtrack")
            },
            "reached": _mean(_reached(traces, task).reshape(-1, len(runs) // len(greedy)).mean(axis=1)),
            "said": _sentences_by_kind(traces),
            "tokens": float(np.mean([len(r.ids) for r in runs])),
            "cut_off": float(np.mean([r.stop == "length" for r in runs])),
        }
    return row


def _reached(traces: Sequence[Trace], task: str) -> Float[np.ndarray, " rollout"]:
    """Whether the last value worked out is the answer, however the text then ends."""
    world = value_task(task)
    return np.array([float(world.reached(trace)) for trace in traces])


def _sentences_by_kind(traces: Sequence[Trace]) -> dict[str, float]:
    """Sentences of every kind per rollout, by their first words: what a lexical count sees."""
    kinds = sorted({s.kind for trace in traces for s in trace.sentences})
    return {k: sum(s.kind == k for trace in traces for s in trace.sentences) / len(traces) for k in kinds}


def splice_effects(outcomes: Json) -> Json:
    """The factorial of the spliced cells, and how far two of them are from the free runs.

    Args:
        outcomes: what was right problem by problem: of the free runs under `greedy`, of the cells under
            `spliced`, named onset-executor.
    """
    cells = [_unpack(outcomes["spliced"][f"{onset}-{executor}"]) for onset, executor in CELLS]
    bb, bt, tb, tt = cells
    effects = factorial(bb=bb, bt=bt, tb=tb, tt=tt)
    base, thinking = (_unpack(outcomes["greedy"][role]) for role in ("base", "thinking"))
    return {
        "S_BB": _mean(bb), "S_BT": _mean(bt), "S_TB": _mean(tb), "S_TT": _mean(tt),
        "when": _interval(effects.when),
        "how": _interval(effects.how),
        "when_given_base": _interval(effects.when_given_base),
        "when_given_thinking": _interval(effects.when_given_thinking),
        "how_given_base": _interval(effects.how_given_base),
        "how_given_thinking": _interval(effects.how_given_thinking),
        "S_BB_minus_free": _interval(paired_bootstrap(bb, base)),
        "S_TT_minus_free": _interval(paired_bootstrap(tt, thinking)),
    }  # fmt: skip


def _execution(hosts: Mapping[str, Host], sampled: Mapping[str, Rollouts], effort: Effort, task: str) -> Json:
    """At least `forced` onsets, on the same texts for both models, each sampled as often as that takes."""
    traces, forced, seed = [*parse(sampled["thinking"]), *parse(sampled["base"])], effort.forced, effort.seed
    rows: Json = {}
    for behaviour in ("step", "check", "backtrack"):
        if not onset_rate(traces, behaviour).n:
            continue
        prompts = forced_prompts(traces, behaviour, task=task, n=forced, seed=seed)
        samples = -(-forced // len(prompts))  # rounded up
        rows[behaviour] = {
            name: _rate(forced_rates(host, prompts, samples=samples, seed=seed, task=task).values())
            | {"n_texts": len(prompts)}
            for name, host in hosts.items()
        }
    return rows


def verified_counts(host: Host, problems: ProblemSet, *, k: int, seed: int) -> list[int]:
    """How many of `k` samples at T = 1 are right with every step right, per problem."""
    # seed + 1: other noise than that of the sampled accuracy
    decode = Decode(max_new_tokens=_TOKENS, temperature=1.0, samples=k, seed=seed + 1, batch_size=512)
    verified = [tasks.get(problems.task).verified(trace) for trace in parse(_run(host, problems, decode))]
    return np.array(verified).reshape(len(problems), k).sum(axis=1).tolist()


def _unpack(text: str) -> Float[np.ndarray, " problem"]:
    """What `bits` wrote."""
    return np.array([float(character) for character in text])


def bits(right: np.ndarray) -> str:
    """One character per problem: 1 where it is right."""
    return "".join("1" if value else "0" for value in right)
