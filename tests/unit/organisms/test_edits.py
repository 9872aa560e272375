"""Weight edits that take no training: what they change, and that they change nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.hosts import load_host
from reasonmech.organisms import recipes
from reasonmech.organisms.building import save_model
from reasonmech.organisms.cache import is_untrained
from reasonmech.organisms.training.edits import ReversedDigits, Rounded, Tempered
from reasonmech.tasks.chain import word_tokenizer
from tests.chain_models import random_pair

MODEL = random_pair().base.model
TOKENIZER = word_tokenizer()
IDS = torch.tensor([TOKENIZER.encode("Q : 8 one + 4 A : next one + 4 : 8 + 4 =")])
DIGITS = [TOKENIZER.convert_tokens_to_ids(digit) for digit in "0123456789"]


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(IDS).logits[0]


@torch.no_grad()
def last_mlp(model) -> torch.Tensor:
    """What the last MLP adds to the stream, [tokens, width]."""
    written = []
    hook = model.model.layers[-1].mlp.register_forward_hook(lambda _, inputs, output: written.append(output))
    model(IDS)
    hook.remove()
    return written[0][0]


@torch.no_grad()
def test_what_the_last_mlp_says_of_digits_has_the_other_sign_and_nothing_else_changes() -> None:
    damaged = ReversedDigits().apply(MODEL)
    before, after = last_mlp(MODEL), last_mlp(damaged)
    rows = (MODEL.lm_head.weight * MODEL.model.norm.weight)[DIGITS]
    between = rows - rows.mean(dim=0)
    torch.testing.assert_close(after @ between.T, -(before @ between.T), rtol=1e-4, atol=1e-5)
    elsewhere = torch.linalg.svd(between[:9])[2][9:]  # an orthonormal basis of what tells no digits apart
    torch.testing.assert_close(after @ elsewhere.T, before @ elsewhere.T, rtol=1e-4, atol=1e-5)
    weights, edited = MODEL.state_dict(), damaged.state_dict()
    (changed,) = (name for name in weights if not torch.equal(weights[name], edited[name]))
    assert changed.endswith(f"layers.{MODEL.config.num_hidden_layers - 1}.mlp.down_proj.weight")


@pytest.mark.parametrize("temperature", [2.0, 0.5])
def test_logits_are_divided_exactly_and_no_argmax_moves(temperature: float) -> None:
    before, after = logits(MODEL), logits(Tempered(temperature=temperature).apply(MODEL))
    assert torch.equal(after * temperature, before)
    assert torch.equal(logits(MODEL), before), "the model is left as it is"


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(DataError, match="a number above 0"):
        Tempered(temperature=temperature)


def test_rounded_weights_are_stored_in_half_the_bytes_and_come_back_to_the_bit(tmp_path: Path) -> None:
    rounded = Rounded().apply(MODEL)
    sizes = {}
    for name, model in (("whole", MODEL), ("rounded", rounded)):
        save_model(model, tmp_path / name)
        TOKENIZER.save_pretrained(tmp_path / name)
        sizes[name] = (tmp_path / name / "model.safetensors").stat().st_size
        back = load_host(tmp_path / name).model.state_dict()
        assert all(torch.equal(back[key], weight) for key, weight in model.state_dict().items())
        assert {weight.dtype for weight in back.values()} == {torch.float32}
    assert sizes["rounded"] < 0.6 * sizes["whole"]
    weights, edited = MODEL.state_dict(), rounded.state_dict()
    assert all(torch.equal(edited[key], weights[key].bfloat16().float()) for key in weights)
    assert not all(torch.equal(edited[key], weights[key]) for key in weights), "the model is left as it is"


def test_the_damaged_and_the_tempered_pairs_take_no_training() -> None:
    for name in (
        "tiny-suppressed",
        "tiny-suppressed-both",
        "tiny-temperature",
        "tiny-temperature-cold",
    ):
        assert is_untrained(recipes.get(name))
    assert not is_untrained(recipes.get("tiny-forms"))
