"""Records of old SAEs: the layer beside the hook's name, and factors beside the decoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.testing import tiny_host

OLD = {
    "model_name": "tiny-llama-0",
    "hook_name": "blocks.1.hook_resid_pre",
    "hook_layer": 1,
    "hook_head_index": None,
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "d_in": 32,
    "d_sae": 16,
    "dtype": "float32",
    "device": "cpu",
    "normalize_activations": "none",
    "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False,
    "prepend_bos": False,
    "context_size": 8,
    "architecture": "standard",
    "model_from_pretrained_kwargs": {},
}


def write(path: Path, tensors: dict[str, torch.Tensor] | None = None, **settings: object) -> Path:
    random = torch.Generator().manual_seed(1)
    shapes = {"W_enc": (32, 16), "W_dec": (16, 32), "b_enc": (16,), "b_dec": (32,)}
    weights = {name: torch.randn(*shape, generator=random) for name, shape in shapes.items()} | (
        tensors or {}
    )
    path.mkdir()
    save_file(weights, path / "sae_weights.safetensors")
    (path / "cfg.json").write_text(json.dumps(OLD | settings))
    return path


def test_a_layer_that_the_hook_contradicts_is_refused(tmp_path: Path) -> None:
    host = tiny_host()
    assert str(rm.load_coder(write(tmp_path / "old"), host=host).site) == "resid_pre.1"
    for name in ("hook_layer", "hook_point_layer"):
        with pytest.raises(CorruptFileError, match=f"says {name} = 2, and the hook 'blocks"):
            rm.load_coder(write(tmp_path / name, **{name: 2}), host=host)


def test_factors_beside_the_decoder_are_refused_by_name(
    tmp_path: Path,
) -> None:
    host, factor = tiny_host(), torch.linspace(0.5, 2, 16)
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        path = write(tmp_path / name, {name: factor}, finetuning_scaling_factor=True)
        with pytest.raises(MismatchError, match=rf"a factor for each feature \({name}\)[\s\S]*of W_dec"):
            rm.load_coder(path, host=host)
    ones = write(tmp_path / "ones", {"scaling_factor": torch.ones(16)}, finetuning_scaling_factor=True)
    assert rm.load_coder(ones, host=host).d_sae == 16
