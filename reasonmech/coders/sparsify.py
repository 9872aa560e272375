"""Coders in the layout of EleutherAI's sparsify: `<run>/<hookpoint>/` with cfg.json and sae.safetensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from safetensors.torch import load_file

from reasonmech.arguments import describe
from reasonmech.coders.hookname import hook_of_site
from reasonmech.coders.layout import coder_of
from reasonmech.coders.recipe import CONFIG_FILE, RECORD
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.digest import hash_file
from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.json_text import read_object
from reasonmech.site import Site

WEIGHT_FILE: Final = "sae.safetensors"
RUN_FILE: Final = "config.json"  # of the whole run, beside the hookpoints: it names the model
_BLOCK: Final = re.compile(r"(?:model\.|transformer\.|gpt_neox\.)?(?:layers|h)\.(\d+)(\.mlp)?")
_TENSORS: Final = {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}
_REFUSED: Final = (
    "transcode",
    "skip_connection",
    "embed_skip",
    "gram_lookup",
)  # more than one position's TopK


def read_sparsify(path: Path, *, name: str) -> SAELensCoder:
    """Read a coder of sparsify, whose files have been checked, as a TopK SAE.

    features = topk(relu(W_enc (x - b_dec) + b_enc)), x' = features W_dec + b_dec: sparsify's
    `SparseCoder.encode` and `.decode`. Not through SAELens' own converter, which transposes W_dec and decides
    from `normalize_decoder` whether b_dec is subtracted (tests/equivalence/test_coder_layouts.py).

    Raises:
        MismatchError: it is a transcoder, has a skip connection, another activation or an unknown tensor, or
            its folder names no site.
        CorruptFileError: a key or tensor is missing, or is none.
    """
    config = read_object(path / CONFIG_FILE)
    other = [key for key in _REFUSED if config.get(key)]
    if other or config.get("activation", "topk") != "topk" or config.get("signed"):
        raise MismatchError(
            f"{path} is no plain TopK autoencoder: {', '.join(other) or config.get('activation', 'signed')}",
            allowed="activation topk, and none of " + ", ".join(_REFUSED),
        )
    site, weights = _site_of(path.absolute().name), load_file(path / WEIGHT_FILE)
    if unknown := sorted(weights.keys() - _TENSORS):
        raise MismatchError(
            f"{path} has tensors whose meaning is unknown: {unknown}", allowed=", ".join(sorted(_TENSORS))
        )
    try:
        state = {
            "W_enc": weights["encoder.weight"].T.contiguous(),
            "b_enc": weights["encoder.bias"],
            "W_dec": weights["W_dec"],
            "b_dec": weights["b_dec"],
        }
        k = config["k"]
    except KeyError as error:
        raise CorruptFileError(f"{path} lacks {error}", do="copy it again") from error
    if isinstance(k, bool) or not isinstance(k, int):
        raise CorruptFileError(
            f"{path / CONFIG_FILE} says k = {k}", allowed="a whole number", do="copy it again"
        )
    sizes = {"d_in": weights["b_dec"].numel(), "num_latents": weights["encoder.bias"].numel()}
    for key, size in sizes.items():
        if config.get(key, 0) not in (0, None, size):  # num_latents 0: d_in times expansion_factor
            raise CorruptFileError(
                f"{path / CONFIG_FILE} says {key} = {describe(config[key])}, its tensors {size}",
                allowed="settings and weights of one coder",
                do="copy it again",
            )
    record = {"source": {"layout": "sparsify", "file": WEIGHT_FILE, "sha256": hash_file(path / WEIGHT_FILE)}}
    metadata = {"model_name": _model_of(path), "hook_name": hook_of_site(site), RECORD: record}
    return coder_of(state, {"k": k, "apply_b_dec_to_input": True}, metadata=metadata, name=name)


def _site_of(folder: str) -> Site:
    block = _BLOCK.fullmatch(folder)
    if block is None:
        raise MismatchError(
            f"the folder {folder!r} names no site",
            allowed="layers.N, layers.N.mlp, h.N, h.N.mlp: a hookpoint of sparsify",
            do="rename the folder as sparsify did",
        )
    return Site("mlp_out" if block[2] else "resid_post", int(block[1]))


def _model_of(path: Path) -> str | None:
    """The model that the run's own configuration names."""
    file = path.resolve().parent / RUN_FILE
    model = read_object(file).get("model") if file.is_file() else None
    if model is not None and not isinstance(model, str):
        raise CorruptFileError(f"{file} says model = {describe(model)}", allowed="a name", do="copy it again")
    return model
