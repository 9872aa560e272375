"""A coder whose settings are missing, of another type or out of range does not load as another coder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasonmech.coders import SAELensCoder, convert_coder, load_coder
from reasonmech.errors import ArgumentError, CorruptFileError, MismatchError
from reasonmech.testing import tiny_coder, tiny_host

X = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
GONE = object()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_coder(tiny_host(), d_sae=64, k=4).save(tmp_path / "c")
    return tmp_path / "c"


def change(path: Path, **values: Any) -> None:
    file = path / "cfg.json"
    config = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not GONE}))


@pytest.mark.parametrize("k", [0, -3, 65, "4", 4.0, 4.5, True, None, [4], float("nan")])
@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_k_is_a_whole_number_of_its_features(k: object, architecture: str, saved: Path) -> None:
    change(saved, architecture=architecture)
    assert int((load_coder(saved).encode(X) != 0).sum(-1).max()) == 4
    change(saved, k=k)
    with pytest.raises(CorruptFileError, match="k = "):
        load_coder(saved)


def test_a_coder_without_k_is_not_one_of_a_hundred(saved: Path) -> None:
    change(saved, k=GONE, K=4)
    with pytest.raises(CorruptFileError, match=r"cfg\.json has no k, but 'K'"):
        load_coder(saved)
    change(saved, K=GONE)
    with pytest.raises(CorruptFileError, match=r"cfg\.json has no k\b"):
        load_coder(saved)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"architecture": GONE}, "no architecture"),
        ({"architecture": GONE, "metadata": GONE}, "no architecture"),  # SAELens took it for a "standard" one
        ({"metadata": "mine"}, "metadata"),
        ({"d_sae": GONE}, "no d_sae"),
        ({"d_in": "32"}, "d_in = the string '32'"),
        ({"d_sae": 64.0}, "d_sae"),
        ({"d_in": 16}, "holds no topk SAE"),
        ({"d_sae": 32}, "holds no topk SAE"),
        ({"apply_b_dec_to_input": "false"}, "apply_b_dec_to_input = the string 'false'"),
        ({"apply_b_dec_to_input": 1}, "apply_b_dec_to_input"),
        ({"rescale_acts_by_decoder_norm": None}, "rescale_acts_by_decoder_norm = None"),
        ({"normalize_activations": "sometimes"}, "holds no topk SAE"),
        ({"dtype": 32}, "dtype = the integer 32"),
    ],
)
def test_settings_are_of_their_type(values: dict[str, Any], what: str, saved: Path) -> None:
    change(saved, **values)
    with pytest.raises(CorruptFileError, match=what):
        load_coder(saved)


@pytest.mark.parametrize(
    "values",
    [
        {"residual_threshold": "0.1", "max_iterations": 3},
        {"residual_threshold": -0.1, "max_iterations": 3},
        {"residual_threshold": float("inf"), "max_iterations": 3},
        {"residual_threshold": 0.1, "max_iterations": 0},
        {"residual_threshold": 0.1, "max_iterations": 2.5},
        {"residual_threshold": 0.1, "max_iterations": True},
        {"max_iterations": 3},
    ],
)
def test_matching_pursuit_has_settings_of_its_own(values: dict[str, Any], saved: Path) -> None:
    state = load_file(saved / "sae_weights.safetensors")
    tensors = {name: state[name] for name in ("W_dec", "b_dec")}
    save_file(tensors, saved / "sae_weights.safetensors")
    right = {"architecture": "matching_pursuit", "residual_threshold": 0.1, "max_iterations": 3, "k": GONE}
    change(saved, **right)
    assert load_coder(saved).d_sae == 64
    change(saved, **({"residual_threshold": GONE} | values))
    with pytest.raises(CorruptFileError):
        load_coder(saved)


def test_a_file_from_before_saelens_6_is_read_as_it_was_written(saved: Path) -> None:
    """Its k stands elsewhere, under its activation function."""
    config = json.loads((saved / "cfg.json").read_text())
    metadata = config["metadata"]
    old = {
        "model_name": metadata["model_name"],
        "hook_name": metadata["hook_name"],
        "d_in": 32,
        "d_sae": 64,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 4},
        "context_size": 128,
    }
    want = load_coder(saved).encode(X)
    (saved / "cfg.json").write_text(json.dumps(old))
    coder = load_coder(saved)
    assert isinstance(coder, SAELensCoder) and coder.architecture == "topk"
    assert torch.equal(coder.encode(X), want) and coder.stream.prepend_bos is True
    (saved / "cfg.json").write_text(json.dumps(old | {"activation_fn_kwargs": {"k": 0}}))
    with pytest.raises(CorruptFileError, match="k = 0"):
        load_coder(saved)


@pytest.mark.parametrize("k", [True, 0, -1, 4.0, "4"])
def test_a_conversion_takes_a_k_that_is_one(k: object, tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    state = {
        "W_enc": torch.randn(32, 64, generator=random),
        "W_dec": torch.randn(64, 32, generator=random),
        "b_enc": torch.zeros(64),
        "b_dec": torch.zeros(32),
    }
    torch.save(state, tmp_path / "ae.pt")
    where = {"site": "resid_post.1", "model": "m", "subtracts_b_dec": True}
    with pytest.raises((ArgumentError, MismatchError), match=r"k (is|=) "):
        convert_coder(tmp_path / "ae.pt", tmp_path / "c", k=k, **where)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="subtracts_b_dec"):
        convert_coder(tmp_path / "ae.pt", tmp_path / "c", **where | {"subtracts_b_dec": "no"})  # pyright: ignore
    torch.save(state | {"k": torch.tensor(4.5)}, tmp_path / "ae.pt")
    with pytest.raises(CorruptFileError, match=r"k = the number 4\.5"):
        convert_coder(tmp_path / "ae.pt", tmp_path / "c", k=4, **where)
    torch.save(state | {"k": torch.tensor(4)}, tmp_path / "ae.pt")
    with pytest.raises(MismatchError, match="says k = 4, not 5"):
        convert_coder(tmp_path / "ae.pt", tmp_path / "c", k=5, **where)
    assert not (tmp_path / "c").exists()
    assert convert_coder(tmp_path / "ae.pt", tmp_path / "c", k=4, **where).architecture == "topk"
