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
from reasonmech.errors import MismatchError, UnknownNameError
from reasonmech.hosts import Host, load_host
from reasonmech.metrics.pass_at_k import pass_at_k
from reasonmech.organisms.ground_truth.forced import forced_execution, forced_prompts
from reasonmech.organisms.ground_truth.slips import slips_undone
from reasonmech.organisms.ground_truth.truth import Effort
from reasonmech.organisms.making import carry_out
from reasonmech.organisms.recipes import Stage
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.stats import clopper_pearson, mean_interval
from reasonmech.tasks import grade, load_task, parse, tasks
from reasonmech.tasks.chain import word_tokenizer

BASE: Final = "organism:tiny-when/base"
_SNAPSHOTS: Final = 12
VARIANTS: Final[Mapping[str, Stage]] = MappingProxyType(
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
"""Each starts from tiny-when's base. Spurious reward: Shao et al. 2025 (arXiv 2506.10947); one-shot: Wang et
al. 2025 (arXiv 2504.20571); negative samples only: Zhu et al. 2025 (arXiv 2506.01347)."""

EFFORT: Final = Effort(problems=200, samples=2, forced=500, coverage=64, coverage_problems=100)
KS: Final = (1, 2, 4, 8, 16, 32, 64)
_TOKENS: Final = 224


def build_variants(out: str | Path, *, names: Sequence[str] = (), progress: bool = True) -> pd.DataFrame:
    """Train and measure the variants into `out`, one directory each; what is there already is read, not made
    again.

    Killed and called again, it goes on from the last checkpoint. Each directory holds the model, its training
    log and what was measured, and beside it lie its intermediate models.

    Args:
        names: which variants; none: all of them.

    Returns:
        One row per variant, the base first: accuracy, onset hazards, execution after forced onsets, pass@k
            for k = 1 to
        64, process-verified, and how far the weights moved.

    Raises:
        UnknownNameError: no such variant.
    """
    for name in names:
        if name not in VARIANTS:
            raise UnknownNameError("variant", name, list(VARIANTS))
    out = Path(out)
    base = load_host(BASE)
    model = base.model
    assert isinstance(model, LlamaForCausalLM)
    rows = [_measured(base, base, out / "base.json", "base", progress=progress)]
    for name in names or VARIANTS:
        home = out / name.replace(" ", "-")
        if not home.is_dir():
            _train(VARIANTS[name], model, home, progress=progress)
        host = load_host(home, name=name)
        rows.append(_measured(host, base, home.with_suffix(".json"), name, progress=progress))
    table = pd.DataFrame(rows)
    table.to_csv(out / "variants.csv", index=False)
    return table


def _train(stage: Stage, base: LlamaForCausalLM, home: Path, *, progress: bool) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    trained, log = carry_out(stage, base, home.with_suffix(".safetensors"), progress=progress)
    partial = home.with_name(home.name + ".partial")
    trained.save_pretrained(partial)
    word_tokenizer().save_pretrained(partial)
    described = {"recipe": asdict(stage), "log": log}
    (partial / "training.json").write_text(json.dumps(described, indent=1, default=str) + "\n")
    partial.rename(home)


def _measured(host: Host, base: Host, file: Path, name: str, *, progress: bool) -> dict[str, Any]:
    """What was measured of this model before, or is now."""
    if file.exists():
        found = json.loads(file.read_text())
        if found["weights"] != host.weight_hash:
            raise MismatchError(
                f"{file} was measured on other weights", do="delete it, and the model is measured again"
            )
        return found
    row = (
        {"variant": name, "weights": host.weight_hash} | measure(host, progress=progress) | moved(host, base)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(row, indent=1) + "\n")
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
    accuracy = mean_interval(grade(greedy).astype(float))
    row = {"accuracy": accuracy.estimate, "accuracy low": accuracy.low, "accuracy high": accuracy.high}
    row["accuracy, T = 1"] = float(grade(sampled).mean())
    traces = parse(sampled)
    row |= {f"{kind} onset": onset_rate(traces, kind).value for kind in ("step", "check", "backtrack")}
    row["slips undone"] = slips_undone(traces).value
    return row | _executed(host, problems, effort) | _covered(host, problems, effort, progress)


def _executed(host: Host, problems: ProblemSet, effort: Effort) -> dict[str, float]:
    teacher = load_host("organism:tiny-when/thinking")
    traces = parse(
        generate(teacher, problems, decode=Decode(max_new_tokens=_TOKENS, batch_size=256), progress=False)
    )
    row = {}
    for kind in ("check", "backtrack"):
        prompts = forced_prompts(traces, kind, n=effort.forced, seed=effort.seed)
        rate = forced_execution(host, prompts, samples=-(-effort.forced // len(prompts)), seed=effort.seed)
        interval = clopper_pearson(rate.hits, rate.n)
        row |= {f"{kind} executed": interval.estimate, f"{kind} executed low": interval.low}
    return row


def _covered(host: Host, problems: ProblemSet, effort: Effort, progress: bool) -> dict[str, float]:
    decode = Decode(
        max_new_tokens=_TOKENS, temperature=1.0, samples=effort.coverage, seed=effort.seed + 1, batch_size=512
    )
    some = problems[: effort.coverage_problems]
    rollouts = generate(host, some, decode=decode, progress=progress, receipt="none")
    verified = np.array([tasks.get(some.task).verified(trace) for trace in parse(rollouts)]).reshape(
        len(some), -1
    )
    answered = grade(rollouts).reshape(len(some), -1)
    ks = [k for k in KS if k <= effort.coverage]
    row = {f"pass@{k}": pass_at_k(answered, k).estimate for k in ks}
    return row | {f"verified pass@{k}": pass_at_k(verified, k).estimate for k in ks}


def moved(host: Host, base: Host) -> dict[str, float]:
    """How far the weights are from the base's: ||W' - W|| / ||W||, and the share of bfloat16 weights that
    differ.

    The share is the update sparsity of Mukherjee et al. 2025 (arXiv 2505.11711), from one, a published sign
    of reinforcement learning.
    """
    before, after = dict(base.model.named_parameters()), dict(host.model.named_parameters())
    squared, norm, differing, n = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for key, old in before.items():
            squared += float((after[key] - old).double().square().sum())
            norm += float(old.double().square().sum())
            differing += int((after[key].bfloat16() != old.bfloat16()).sum())
            n += old.numel()
    return {"weights moved": (squared / norm) ** 0.5, "bf16 weights changed": differing / n}
