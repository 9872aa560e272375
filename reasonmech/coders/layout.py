"""Foreign weights as a SAELens SAE: written in SAELens' layout, and read back by SAELens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from reasonmech.coders.directory import read_directory
from reasonmech.coders.recipe import CONFIG_FILE, WEIGHT_FILE
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.errors import MismatchError, NonFiniteError

SAELENS_VERSION: Final = "6.54.12"  # whose layout is written


def coder_of(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], *, metadata: Mapping[str, Any], name: str
) -> SAELensCoder:
    """A coder from its tensors, in float32.

    Args:
        state: W_enc [d_in, d_sae], b_enc [d_sae], W_dec [d_sae, d_in], b_dec [d_in]; of a JumpReLU threshold
            [d_sae].
        settings: those of SAELens that are not the default: `k` makes it a TopK; `apply_b_dec_to_input` says
            whether b_dec is subtracted before encoding.

    Raises:
        MismatchError: shapes that do not fit together, or k that is none of theirs. NonFiniteError: NaN or
            infinity.
    """
    for key, tensor in state.items():
        if not tensor.is_floating_point() or tensor.ndim != (2 if key.startswith("W") else 1):
            raise MismatchError(
                f"{key} of {name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}",
                allowed="W_enc and W_dec as matrices, the others as vectors, of floating-point numbers",
            )
    (d_in,), (d_sae,) = state["b_dec"].shape, state["b_enc"].shape
    shapes = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        "threshold": (d_sae,),
    }
    for key, tensor in state.items():
        if tuple(tensor.shape) != shapes[key]:
            raise MismatchError(
                f"{key} of {name!r} has shape {tuple(tensor.shape)}", allowed=str(shapes[key])
            )
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(f"{key} of {name!r} holds NaN or infinity", do="download it again")
    if "k" in settings and not 1 <= settings["k"] <= d_sae:
        raise MismatchError(
            f"k = {settings['k']} of {name!r}, which has {d_sae} features", allowed=f"1 .. {d_sae}"
        )
    config = {
        "architecture": "topk" if "k" in settings else "jumprelu" if "threshold" in state else "standard",
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "normalize_activations": "none",
        "reshape_activations": "none",
        **({"rescale_acts_by_decoder_norm": False} if "k" in settings else {}),
        **settings,
        "metadata": {"sae_lens_version": SAELENS_VERSION, **metadata},
    }
    with TemporaryDirectory() as directory:
        (Path(directory) / CONFIG_FILE).write_text(json.dumps(config))
        weights = {key: tensor.to(torch.float32).contiguous() for key, tensor in state.items()}
        save_file(weights, Path(directory) / WEIGHT_FILE)
        return SAELensCoder(read_directory(Path(directory)), name=name)
