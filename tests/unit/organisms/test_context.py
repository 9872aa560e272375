"""Context distillation: towards the prompted model's own distribution; resumed to the bit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from reasonmech.errors import MismatchError
from reasonmech.organisms.making import existing
from reasonmech.organisms.training import context
from reasonmech.organisms.training.context import ContextRecipe, distil_context, with_prompt
from reasonmech.organisms.training.policy_batch import pad_rollouts
from reasonmech.organisms.training.pretrain import PretrainRecipe, new_model
from reasonmech.tasks import load_task

TINY = PretrainRecipe(steps=6, rows=2, length=64, n_layers=2, d_model=16, n_heads=2, d_mlp=32)
FEW = ContextRecipe(steps=4, rows=3, problems=3, lr=1e-2, warmup=1)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never stops by itself."""
    decode = context.Decode
    monkeypatch.setattr(context, "Decode", lambda **given: decode(**given | {"max_new_tokens": 12}))


def state(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_a_prompt_changes_what_is_read_and_nothing_that_is_graded() -> None:
    problems = load_task("chain", n=5, seed=0)
    prompted = with_prompt(problems, "careful")
    assert [p.prompt for p in prompted] == [f"careful {p.prompt}" for p in problems]
    assert [(p.id, p.answer, p.data) for p in prompted] == [(p.id, p.answer, p.data) for p in problems]
    assert prompted.environment is problems.environment and prompted.task == problems.task


def test_the_divergence_is_that_of_the_prompted_model_at_the_tokens_it_chose() -> None:
    model = new_model(TINY).eval()
    other = new_model(PretrainRecipe(**{**vars(TINY), "seed": 1})).eval()
    rollouts = list(context.solve_with_prompt(model, FEW))
    batch = pad_rollouts(rollouts, 0)
    wanted = []
    for rollout in rollouts:
        prompted = torch.tensor([rollout.all_ids])
        begin = len(rollout.prompt_ids)
        with torch.no_grad():
            p = model(prompted).logits[0].log_softmax(-1)
            q = other(prompted[:, 1:]).logits[0].log_softmax(-1)
        for t in range(len(rollout.ids)):
            if not rollout.by_environment[t]:
                at = begin + t - 1  # predicts the token at begin + t
                wanted.append((p[at].exp() * (p[at] - q[at - 1])).sum())
    torch.testing.assert_close(context._divergence(model, other, batch, 1), torch.stack(wanted).mean())


def test_a_model_that_a_prompt_changes_comes_nearer_to_what_it_does_with_it(tmp_path: Path) -> None:
    recipe = ContextRecipe(steps=6, rows=4, problems=4, warmup=1)
    _, log = distil_context(
        existing("organism:tiny-when/base"), recipe, tmp_path / "c.safetensors", save_every=1, progress=False
    )
    assert log[-1]["kl"] < 0.5 * log[0]["kl"] and log[0]["kl"] > 0.05


def test_training_leaves_its_start_alone_and_resumes_to_the_bit(tmp_path: Path) -> None:
    start = new_model(TINY).eval()
    before = copy.deepcopy(state(start))
    whole, log = distil_context(start, FEW, tmp_path / "whole.safetensors", save_every=1, progress=False)
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert not all(torch.equal(a, b) for a, b in zip(state(whole), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state(start), before, strict=True))

    class Killed(Exception):
        pass

    def save_two(*args, step, **rest):
        if step == 3:
            raise Killed
        save(*args, step=step, **rest)

    save, checkpoint = context.save_checkpoint, tmp_path / "killed.safetensors"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(context, "save_checkpoint", save_two)
        distil_context(start, FEW, checkpoint, save_every=1, progress=False)
    resumed, again = distil_context(start, FEW, checkpoint, save_every=1, progress=False)
    assert again == log
    assert all(torch.equal(a, b) for a, b in zip(state(whole), state(resumed), strict=True))
    with pytest.raises(MismatchError, match="lr"):
        distil_context(start, ContextRecipe(**{**vars(FEW), "lr": 1e-3}), checkpoint, progress=False)
