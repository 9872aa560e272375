"""convert_coder: a third party's .pt, read once as tensors and nothing else, becomes a directory of
safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from reasonmech.arguments import check_type, describe
from reasonmech.coders.hookname import hook_of_site
from reasonmech.coders.layout import coder_of
from reasonmech.coders.recipe import RECORD
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.digest import hash_file
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, CorruptFileError, MismatchError, PickleRefusedError
from reasonmech.files import check_new
from reasonmech.site import Site

_NAMES: Final = {
    "W_enc": ("W_enc", "encoder.weight", "encoder_weight"),
    "b_enc": ("b_enc", "encoder.bias", "encoder_bias"),
    "W_dec": ("W_dec", "decoder.weight", "decoder_weight"),
    "b_dec": ("b_dec", "decoder.bias", "decoder_bias", "bias"),
    "threshold": ("threshold", "log_jumprelu_threshold"),
}


@checked
def convert_coder(
    source: str | Path,
    out: str | Path,
    *,
    site: Site | str,
    model: str,
    subtracts_b_dec: bool,
    k: int | None = None,
) -> SAELensCoder:
    """Convert a sparse autoencoder that was published as a PyTorch file, and read it back.

    The file is opened once with `weights_only=True`, which executes nothing; its SHA-256 goes into the
    coder's record. Read are the names of SAELens, dictionary_learning and plain `nn.Linear` layers; whether a
    matrix lies transposed is told by the biases.

    Args:
        source: a .pt, .pth or .bin file with the tensors of one autoencoder.
        out: directory to create, in SAELens' layout.
        site: where the activations come from that it was trained on.
        model: name of the model they come from, as on the Hub; `load_coder` holds hosts to it.
        subtracts_b_dec: whether its encoder sees x - b_dec (dictionary_learning's AutoEncoder and TopK) or x
            (Qwen-Scope, JumpReLU). The tensors do not tell; its authors' code does.
        k: active features per token of a TopK. None: a JumpReLU where there is a threshold (of a BatchTopK
            too), else a ReLU.

    Raises:
        ArgumentError: `k` is no whole number, or `subtracts_b_dec` no truth value.
        PickleRefusedError: it holds more than tensors and plain values. CorruptFileError: it cannot be read,
            or says a k that is none.
        MismatchError: tensors are missing, unknown, or of shapes that do not fit; k is not the file's, or is
            not given where the file is a TopK. NonFiniteError: NaN or infinity.
        OutputError: `out` exists, or cannot be written.
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int)):
        raise ArgumentError(f"k is {describe(k)}", allowed="a whole number; None where it is no TopK")
    check_type(subtracts_b_dec, bool, name="subtracts_b_dec", allowed="True or False")
    file, target = Path(source).expanduser(), check_new(out)
    content = _read(file)
    state = _canonical(content, file, k=k)
    record = {"source": {"layout": "torch", "file": file.name, "sha256": hash_file(file)}}
    metadata = {"model_name": model, "hook_name": hook_of_site(Site.parse(site)), RECORD: record}
    settings = {"apply_b_dec_to_input": subtracts_b_dec, **({} if k is None else {"k": k})}
    coder = coder_of(state, settings, metadata=metadata, name=target.name)
    coder.save(target)
    return coder


def _read(file: Path) -> Mapping[str, Any]:
    """What the file holds, its state dict where it wraps one."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - executes nothing
    except (OSError, EOFError, RuntimeError) as error:
        raise CorruptFileError(f"{file} cannot be read: {error}", do="download it again") from error
    except Exception as error:  # torch raises an error of pickle's, which nothing here imports
        raise PickleRefusedError(
            f"{file} holds more than tensors and plain values: {error}",
            allowed="a dictionary of tensors",
            do="save its state_dict where you trust it, and convert that",
        ) from error
    for key in ("state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise MismatchError(f"{file} holds no tensors by name", allowed="a dictionary of tensors")
    return content


def _whole(k: object, file: Path) -> int | None:
    """The k that a file says, a number or a tensor of one. Raises CorruptFileError where it is none."""
    value = k.item() if isinstance(k, Tensor) and k.numel() == 1 else k
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise CorruptFileError(
            f"{file} says k = {describe(value)}", allowed="1 or more, a whole number", do="download it again"
        )
    return value


def _canonical(content: Mapping[str, Any], file: Path, *, k: int | None) -> dict[str, Tensor]:
    """Tensors by SAELens' names, each way round as SAELens has it."""
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    state = {name: tensors[key] for name, keys in _NAMES.items() for key in keys if key in tensors}
    if "log_jumprelu_threshold" in tensors:
        state["threshold"] = state["threshold"].exp()
    recorded_k = _whole(content.get("k"), file)
    if k is not None and recorded_k not in (None, k):
        raise MismatchError(
            f"{file} says k = {recorded_k}, not {k}", do="pass the k that it was trained with"
        )
    known = {"k", *(key for keys in _NAMES.values() for key in keys)}
    lost, missing = (
        sorted(tensors.keys() - known),
        sorted({"W_enc", "b_enc", "W_dec", "b_dec"} - state.keys()),
    )
    if lost or missing:
        raise MismatchError(
            f"{file} lacks {missing} and has tensors nobody here knows: {lost}"
            if missing
            else f"{file} has tensors whose meaning is unknown: {lost}",
            allowed="; ".join(f"{name} as {', '.join(keys)}" for name, keys in _NAMES.items()),
            do="convert it with its authors' code",
        )
    if (
        k is None
        and recorded_k is not None
        and not bool((state.get("threshold", torch.tensor(-1.0)) >= 0).all())
    ):
        raise MismatchError(
            f"{file} says k = {recorded_k} and holds no threshold that was set: it is a TopK",
            do=f"pass k={recorded_k}",
        )
    for name in ("b_enc", "b_dec"):
        if state[name].dim() != 1:
            raise MismatchError(
                f"{name} has shape {tuple(state[name].shape)}", allowed="one number per feature or input"
            )
    (d_sae,), (d_in,) = state["b_enc"].shape, state["b_dec"].shape
    if d_sae == d_in:
        raise MismatchError(
            f"{file} is as wide as its input ({d_in}): which way round its matrices lie is open"
        )
    state["W_enc"] = state["W_enc"] if len(state["W_enc"]) == d_in else state["W_enc"].T
    state["W_dec"] = state["W_dec"] if len(state["W_dec"]) == d_sae else state["W_dec"].T
    if "threshold" in state and state["threshold"].numel() == 1:
        state["threshold"] = state["threshold"].flatten().expand(d_sae)
    if k is not None:  # dictionary_learning keeps one beside its TopK, which does not use it
        state.pop("threshold", None)
    return state
