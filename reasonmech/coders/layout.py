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
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.errors import CorruptFileError, MismatchError, NonFiniteError

CONFIG_FILE: Final = "cfg.json"
WEIGHT_FILE: Final = "sae_weights.safetensors"
SAELENS_VERSION: Final = "6.54.12"  # whose layout is written


def read_json(file: Path) -> Mapping[str, Any]:
    """A configuration file. Raises CorruptFileError where it is no JSON object."""
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise CorruptFileError(f"{file} is not JSON: {error}", do="copy it again") from error
    if not isinstance(content, dict):
        raise CorruptFileError(f"{file} is no JSON object: {content!r:.80}", do="copy it again")
    return content


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
