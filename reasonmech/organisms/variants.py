"""What does reinforcement learning do? One base, trained in five ways, each measured in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from transformers import LlamaForCausalLM

from reasonmech.behaviours import onset_rate
from reasonmech.disk import explain_failed_writes
from reasonmech.errors import MismatchError, UnknownNameError
from reasonmech.files import new_directory, write_text
from reasonmech.hosts import Host, load_host
from reasonmech.json_text import read_object
from reasonmech.metrics.pass_at_k import pass_at_k
from reasonmech.organisms.ground_truth.forced import forced_prompts, forced_rates
from reasonmech.organisms.ground_truth.slips import slips_undone
from reasonmech.organisms.ground_truth.truth import Effort
from reasonmech.organisms.making import carry_out
from reasonmech.organisms.recipes import TrainingStage
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.stats import SHARE, mean_interval, rate_interval
from reasonmech.tasks import grade, load_task, parse, tasks
from reasonmech.tasks.chain import word_tokenizer

BASE: Final = "organism:tiny-when/base"
_SNAPSHOTS: Final = 12
VARIANTS: Final[Mapping[str, TrainingStage]] = MappingProxyType(
    {
        "outcome": GrpoRecipe(snapshots=_SNAPSHOTS),
        "one-shot": GrpoRecipe(pool=1, snapshots=_SNAPSHOTS),
        "random reward": GrpoRecipe(reward="random", lr=3e-5, snapshots=_SNAPSHOTS),
        "negative only": GrpoRecipe(lessons="negative", snapshots=_SNAPSHOTS),
        "distilled": TuneRecipe(
            teacher="organism:tiny-when/thinking", steps=300, lr=5e-4, snapshots=_SNAPSHOTS
        ),
    }
)
"""Each starts from tiny-when's base.

Spurious reward: Shao et al. 2025 (arXiv 2506.10947); one-shot: Wang et al. 2025 (arXiv 2504.20571); negative
samples only: Zhu et al. 2025 (arXiv 2506.01347).
"""

EFFORT: Final = Effort(problems=200, samples=2, forced=500, coverage=64, coverage_problems=100)
KS: Final = (1, 2, 4, 8, 16, 32, 64)
_TOKENS: Final = 224


def build_variants(out: str | Path, *, names: Sequence[str] = (), progress: bool = True) -> pd.DataFrame:
    """Train and measure the variants into `out`, one directory each; what is complete there is only read.

    Killed and called again, it goes on from the last checkpoint. Each directory holds the model, its training
    log and what was measured, and beside it lie its intermediate models.

    Args:
        names: which variants; none: all of them.

    Returns:
        One row per variant, the base first: accuracy, onset hazards, execution after forced onsets, pass@k
            for k = 1 to 64, process-verified, and how far the weights moved.

    Raises:
        UnknownNameError: no such variant.
        MismatchError: a model in `out` is not the one that was measured there.
    """
    for name in names:
        if name not in VARIANTS:
            raise UnknownNameError("variant", name, list(VARIANTS))
    out = Path(out)
    base = load_host(BASE)
    model = base.model
    assert isinstance(model, LlamaForCausalLM)
    rows = [_read_or_measure(base, base, out / "base.json", "base", progress=progress)]
    for name in names or VARIANTS:
        home = out / name.replace(" ", "-")
        if not home.is_dir():
            _train(VARIANTS[name], model, home, progress=progress)
        host = load_host(home, name=name)
        rows.append(_read_or_measure(host, base, home.with_suffix(".json"), name, progress=progress))
    table = pd.DataFrame(rows)
    with explain_failed_writes(out):
        write_text(out / "variants.csv", table.to_csv(index=False))
    return table


def _train(stage: TrainingStage, base: LlamaForCausalLM, home: Path, *, progress: bool) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    trained, log = carry_out(stage, base, home.with_suffix(".safetensors"), progress=progress)
    described = {"recipe": asdict(stage), "log": log}
    with new_directory(home) as partial:
        trained.save_pretrained(partial)
        word_tokenizer().save_pretrained(partial)
        write_text(partial / "training.json", json.dumps(described, indent=1, default=str) + "\n")


def _read_or_measure(host: Host, base: Host, file: Path, name: str, *, progress: bool) -> dict[str, Any]:
    """What was measured of this model earlier, or is now."""
    if file.exists():
        row = read_object(file, {"weights": str}, do="delete it, and the model is measured again")
        if row["weights"] != host.weight_hash:
            raise MismatchError(
                f"{file} was measured on other weights", do="delete it, and the model is measured again"
            )
        return row
    row = (
        {"variant": name, "weights": host.weight_hash}
        | measure(host, progress=progress)
        | distance(host, base)
    )
    with explain_failed_writes(file):
        write_text(file, json.dumps(row, indent=1) + "\n")
    return row


def measure(host: Host, *, effort: Effort = EFFORT, progress: bool = True) -> dict[str, float]:
    """Accuracy, hazards, execution and coverage of one chain model; rates in [0, 1], intervals by problem.

    Execution is measured on texts of tiny-when's thinking model, the same for every variant.
    """
    problems = load_task("chain", n=effort.problems, seed=effort.seed, split=effort.split)
    greedy = generate(
        host, problems, decode=Decode(max_new_tokens=_TOKENS, batch_size=256), progress=progress
    )
    warm = Decode(
        max_new_tokens=_TOKENS, temperature=1.0, samples=effort.samples, seed=effort.seed, batch_size=256
    )
    sampled = generate(host, problems, decode=warm, progress=progress)
    accuracy = mean_interval(grade(greedy).astype(float), bounds=SHARE)
    row = {"accuracy": accuracy.estimate, "accuracy low": accuracy.low, "accuracy high": accuracy.high}
    row["accuracy, T = 1"] = float(grade(sampled).mean())
    traces = parse(sampled)
    row |= {f"{kind} onset": onset_rate(traces, kind).value for kind in ("step", "check", "backtrack")}
    row["slips undone"] = slips_undone(traces).value
    return (
        row | _measure_execution(host, problems, effort) | _measure_coverage(host, problems, effort, progress)
    )


def _measure_execution(host: Host, problems: ProblemSet, effort: Effort) -> dict[str, float]:
    teacher = load_host("organism:tiny-when/thinking")
    traces = parse(
        generate(teacher, problems, decode=Decode(max_new_tokens=_TOKENS, batch_size=256), progress=False)
    )
    row = {}
    for kind in ("check", "backtrack"):
        prompts = forced_prompts(traces, kind, n=effort.forced, seed=effort.seed)
        samples = -(-effort.forced // len(prompts))
        rates = np.array(list(forced_rates(host, prompts, samples=samples, seed=effort.seed).values()))
        interval = rate_interval(rates[:, 0], rates[:, 1])
        row |= {f"{kind} executed": interval.estimate, f"{kind} executed low": interval.low}
    return row


def _measure_coverage(host: Host, problems: ProblemSet, effort: Effort, progress: bool) -> dict[str, float]:
    decode = Decode(
        max_new_tokens=_TOKENS, temperature=1.0, samples=effort.coverage, seed=effort.seed + 1, batch_size=512
    )
    subset = problems[: effort.coverage_problems]
    rollouts = generate(host, subset, decode=decode, progress=progress, receipt="none")
    is_verified = tasks.get(subset.task).verified
    verified = np.array([is_verified(trace) for trace in parse(rollouts)]).reshape(len(subset), -1)
    right = grade(rollouts).reshape(len(subset), -1)
    ks = [k for k in KS if k <= effort.coverage]
    row = {f"pass@{k}": pass_at_k(right, k).estimate for k in ks}
    return row | {f"verified pass@{k}": pass_at_k(verified, k).estimate for k in ks}


def distance(host: Host, base: Host) -> dict[str, float]:
    """How far the weights are from the base's: ||W' - W|| / ||W||, and the share that differ in bfloat16.

    The share is the update sparsity of Mukherjee et al. 2025 (arXiv 2505.11711), from one, a published sign
    of reinforcement learning.
    """
    new_weights = dict(host.model.named_parameters())
    squared, norm, differing, n = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for key, old in base.model.named_parameters():
            new = new_weights[key]
            squared += float((new - old).double().square().sum())
            norm += float(old.double().square().sum())
            differing += int((new.bfloat16() != old.bfloat16()).sum())
            n += old.numel()
    return {"weights moved": (squared / norm) ** 0.5, "bf16 weights changed": differing / n}
