"""A GPU computes what the CPU does: texts, receipts, activations, patches, coders, hybrids, verdicts.

Skipped where there is no GPU. `REASONMECH_TEST_DEVICE=cpu` runs the tests themselves without one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import reasonmech as rm
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import DisagreementGate, OfThinking, Takeover
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.tasks import tasks
from reasonmech.testing import tiny_coder

DEVICE = os.environ.get("REASONMECH_TEST_DEVICE", "cuda")
SITE = "resid_post.2"
CHECK = 23  # the token "check"

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU here: nothing is tested on one"
)


@pytest.fixture(scope="module")
def cpu() -> ModelPair:
    return rm.load_pair("tiny-when")


@pytest.fixture(scope="module")
def gpu() -> ModelPair:
    pair = rm.load_pair("tiny-when", device=DEVICE)
    assert pair.base.device.type == pair.thinking.device.type == DEVICE
    return pair


@pytest.fixture(scope="module")
def problems() -> ProblemSet:
    return rm.load_task("chain", n=64)


def written(of: rm.hosts.Host | rm.Hybrid, problems: ProblemSet, *plan: object, **decode: object) -> Rollouts:
    return rm.generate(of, problems, list(plan), decode=rm.Decode(**decode), progress=False)  # type: ignore[arg-type]


def agreement(first: Rollouts, second: Rollouts) -> float:
    """Share of texts that are the same token for token: rounding may turn a near tie."""
    return sum(a.ids == b.ids for a, b in zip(first, second, strict=True)) / len(first)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("side", ["base", "thinking"])
def test_texts_are_those_of_the_cpu(cpu, gpu, problems, side: str, temperature: float) -> None:
    on_cpu, on_gpu = (
        written(pair.base if side == "base" else pair.thinking, problems, temperature=temperature)
        for pair in (cpu, gpu)
    )
    assert agreement(on_cpu, on_gpu) >= 0.95
    assert on_gpu[0].ids and isinstance(on_gpu[0].ids[0], int)


def edits(host: rm.hosts.Host) -> dict[str, rm.Intervention]:
    direction = rm.Direction.along(host.unembedding()[CHECK], SITE)
    features = rm.Features(tiny_coder(host, SITE, d_sae=256, k=8), [3, 9])
    return {
        "steer": rm.steer(direction, 6.0, where=rm.generated() & rm.tokens(".")),
        "ablate a direction": rm.ablate(direction),
        "scale": rm.scale(direction, 3.0),
        "clamp features": rm.clamp(features, 4.0, where=rm.generated()),
        "ablate features": rm.ablate(features),
        "gated": rm.steer(direction, 4.0, when=rm.above(direction, 0.0)),
    }


@pytest.mark.parametrize(
    "verb", ["steer", "ablate a direction", "scale", "clamp features", "ablate features", "gated"]
)
def test_an_intervention_does_on_the_gpu_what_it_does_on_the_cpu(cpu, gpu, problems, verb: str) -> None:
    on_cpu, on_gpu = (written(pair.base, problems, edits(pair.base)[verb]) for pair in (cpu, gpu))
    assert agreement(on_cpu, on_gpu) >= 0.9
    counts = ["n_masked", "n_gated", "n_changed"]
    of_cpu, of_gpu = (rollouts.receipt.table() for rollouts in (on_cpu, on_gpu))
    assert (of_cpu[counts] - of_gpu[counts]).abs().to_numpy().max() <= 0.05 * of_cpu.n_masked.max()
    assert of_gpu.mean_relative.to_numpy() == pytest.approx(of_cpu.mean_relative.to_numpy(), rel=0.02)


def test_one_problem_alone_is_answered_as_in_a_batch(gpu, problems) -> None:
    plan = edits(gpu.base)["steer"]
    together, alone = (written(gpu.base, problems, plan, batch_size=size) for size in (64, 1))
    assert agreement(together, alone) >= 0.95


def test_activations_and_a_store_are_those_of_the_cpu(cpu, gpu, problems, tmp_path: Path) -> None:
    rollouts = written(cpu.base, problems)
    on_cpu, on_gpu = (
        rm.capture(pair.base, rollouts, [SITE, "mlp_out.1"], progress=False) for pair in (cpu, gpu)
    )
    for site in (SITE, "mlp_out.1"):
        torch.testing.assert_close(on_gpu.at(site).cpu(), on_cpu.at(site), rtol=1e-3, atol=1e-3)
    stored = rm.capture(gpu.base, rollouts, SITE, out=tmp_path / "store", progress=False)
    stored.verify()
    torch.testing.assert_close(stored.at(SITE).cpu(), on_cpu.at(SITE), rtol=1e-3, atol=1e-3)


def test_patched_cells_are_those_of_the_cpu(cpu, gpu) -> None:
    texts = [problem.prompt for problem in rm.load_task("chain", n=2)]
    grids = []
    for pair in (cpu, gpu):
        host = pair.base
        pairs = rm.TextPairs([texts[0]], [texts[1]], positions=[-1, -2])
        metric = rm.logit_diff(host, good="check", bad="next")
        grids.append(rm.patch_grid(host, pairs, [SITE, "attn_out.1"], metric=metric))
    left, right = (grid.table.effect.to_numpy() for grid in grids)
    assert right == pytest.approx(left, abs=1e-3) and abs(left).max() > 0.03


def test_a_coder_trained_on_the_gpu_loads_on_the_cpu(cpu, gpu, problems, tmp_path: Path) -> None:
    acts = rm.capture(gpu.base, written(gpu.base, problems), SITE, progress=False)
    config = rm.CoderConfig(architecture="topk", d_sae=256, k=16, steps=200, batch_size=512)
    coder = rm.train_coder(acts, config, device=DEVICE, progress=False)
    coder.save(tmp_path / "coder")
    again = rm.load_coder(tmp_path / "coder", host=cpu.base)
    x = rm.capture(cpu.base, written(cpu.base, problems), SITE, progress=False).at(SITE)
    error = (again.decode(again.encode(x)) - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
    assert float(error) < 0.3


def test_a_hybrid_writes_what_it_writes_on_the_cpu(cpu, gpu, problems) -> None:
    hybrids = [
        rm.Hybrid(
            pair,
            gate=DisagreementGate(),
            selector=OfThinking(),
            executor=Takeover(),
            kinds=tasks.get("chain").kinds(pair.base.tokenizer),
        )
        for pair in (cpu, gpu)
    ]
    on_cpu, on_gpu = (written(hybrid, problems) for hybrid in hybrids)
    assert agreement(on_cpu, on_gpu) >= 0.95 and rm.grade(on_gpu).mean() > 0.9


def test_a_pair_is_judged_alike(gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    judgement = rm.judge(gpu, n=300, progress=False)
    assert judgement.verdict == "WHEN"


def test_bf16_and_a_large_batch(gpu, problems) -> None:
    host = rm.load_pair("tiny-when", device=DEVICE, dtype=torch.bfloat16).base
    many = rm.load_task("chain", n=256)
    rollouts = written(host, many, edits(host)["steer"], batch_size=256)
    assert len(rollouts) == 256 and rollouts.receipt.table().n_changed.min() > 0
    assert rm.capture(host, rollouts, SITE, progress=False).at(SITE).dtype == torch.bfloat16
