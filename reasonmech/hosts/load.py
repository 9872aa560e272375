"""load_host: a directory, a Hub name, a Hugging Face model or a TransformerBridge becomes a Host."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, Union, cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.arguments import check_path, check_type, describe
from reasonmech.device import computes_slowly, device_of
from reasonmech.disk import format_bytes
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.hosts.adapter import Adapter, adapter_at
from reasonmech.hosts.checkpoint import check_eight_bits
from reasonmech.hosts.host import Host
from reasonmech.hosts.lens import is_bridge, model_of_bridge
from reasonmech.hosts.merging import merge, merging_settings
from reasonmech.hosts.read_model import read_model
from reasonmech.hosts.tokenizer_files import read_tokenizer
from reasonmech.hosts.vocabulary import check_round_trip
from reasonmech.mode import no_inference_mode
from reasonmech.paths import ORGANISM_PREFIX

if TYPE_CHECKING:
    from reasonmech.hosts.lens import TransformerBridge

Placement: TypeAlias = str | torch.device | dict[str, int | str]
DEVICE_MAPS: Final = ("auto", "balanced", "balanced_low_0", "sequential")  # those that Hugging Face computes
LARGE: Final = 50_000_000  # parameters from which a slow dtype is worth a warning
DEVICES: Final = f'a device ("cuda:0"), {", ".join(DEVICE_MAPS)}, or a mapping from modules to devices'
Source: TypeAlias = Union[str, Path, PreTrainedModel, "TransformerBridge"]


@checked
def load_host(
    source: Source,
    *,
    tokenizer: PreTrainedTokenizerBase | str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: Placement | None = None,
    name: str | None = None,
    base: Host | Source | None = None,
) -> Host:
    """Load a model under study, and check that its files, weights and tokenizer are what they seem to be.

    Args:
        source: a directory written by `save_pretrained`, a GGUF file (dequantised once, into the cache),
            "organism:NAME/base", "smollm2-135m" (`make smollm2` gets it), a Hub name, a directory or Hub name
            of an adapter (merged into its base by peft), or a model you already have (which is used as it is;
            a TransformerBridge shares its parameters with the host).
        tokenizer: a tokenizer, or where to load it from. None: from the model's own directory. A path that
            ends in "tokenizer.json" is read as it stands, with the special tokens that the
            tokenizer_config.json beside it names; of a directory transformers takes the class that goes with
            the model's type, whatever tokenizer.json says.
        dtype: dtype of the weights. None: the checkpoint's, with a warning where a large model would be in
            half precision on a CPU that has no instructions for it.
        device: where the weights go: "cuda:0" for all of them; "auto", "balanced" or a mapping from modules
            to devices is passed on to Hugging Face (several GPUs). None: the CPU.
        name: how results name the host. None: the directory's or Hub name.
        base: of an adapter, the model that it was trained from, which stays as it is. None: the one that
            adapter_config.json names.

    Raises:
        UnknownNameError: neither a directory nor a model of the Hub.
        NotBuiltError: an organism that does not ship and is not built yet, or SmolLM2 before `make smollm2`.
        PickleRefusedError, CorruptFileError: weights are pickled; or missing, truncated, incomplete, or more
            than the config has a place for.
        NonFiniteError: a weight is NaN or infinite.
        MismatchError: the tokenizer loses text or does not fit; the architecture is unknown; an adapter
            beside weights, of another base, of a kind that cannot be merged, or without peft; quantised
            weights.
        ArgumentError: a dtype or device that is none, or something that is no model.
    """
    if dtype is not None:
        check_type(dtype, torch.dtype, name="dtype", allowed="torch.float32, torch.bfloat16, ...")
    if isinstance(source, str | Path):
        check_path(source, name="source", allowed="a directory, or the name of a model")
        spread = _is_spread(device)
        device_map = device if spread and not isinstance(device, torch.device) else None
        where = (
            None
            if device is None or isinstance(device, dict) or spread
            else device_of(device, allowed=DEVICES)
        )
        with no_inference_mode():
            adapter = adapter_at(source)
            if adapter is None:
                _check_no_base(base, source)
                model = read_model(source, dtype=dtype, device_map=device_map)
            else:
                beneath = _base_of(adapter, base, tokenizer=tokenizer, dtype=dtype, device=device)
                model = merge(adapter, beneath.model)
                tokenizer = tokenizer or (None if adapter.has_tokenizer else beneath.tokenizer)
        origin = str(source)
        if where is not None:
            nn.Module.to(model, where)
    else:
        _check_no_base(base, source)
        if not (dtype is None and device is None):
            raise MismatchError(
                "dtype and device belong to loading; this model is loaded already",
                do="cast or move it yourself before handing it over",
            )
        model, origin = _from_object(source)
        if tokenizer is None and not isinstance(source, PreTrainedModel):
            tokenizer = cast(PreTrainedTokenizerBase, source.tokenizer)
    name = name or origin.removeprefix(ORGANISM_PREFIX) or type(model).__name__
    words = read_tokenizer(tokenizer if tokenizer is not None else origin, name=name)
    check_eight_bits(model, name)
    _check_finite(model, n_tokens=len(words), name=name)
    check_round_trip(words, name=name)
    host = Host(model, words, name=name)
    if isinstance(source, str | Path) and dtype is None:
        _warn_if_slow(host)
    return host


def _warn_if_slow(host: Host) -> None:
    """Say that float32 is faster, where a file's half precision was taken because nobody named a dtype."""
    n = sum(parameter.numel() for parameter in host.model.parameters())
    if n >= LARGE and computes_slowly(host.dtype, host.device):
        dtype = str(host.dtype).removeprefix("torch.")
        warnings.warn(
            f"{host.name} was loaded in {dtype}, as its files hold it, and this CPU has no instructions for "
            f"it: several times slower than dtype=torch.float32 (a pair's file has `dtype:`), which takes "
            f"{format_bytes(4 * n)} of memory",
            stacklevel=4,
        )


def _base_of(
    adapter: Adapter,
    base: Host | Source | None,
    *,
    tokenizer: PreTrainedTokenizerBase | str | Path | None,
    dtype: torch.dtype | None,
    device: Placement | None,
) -> Host:
    """The base of an adapter, held to it, as a model of its own: what is merged is never a model in hand."""
    merging_settings(adapter)
    source = adapter.named_base() if base is None else base
    if isinstance(source, str | Path):
        try:
            host = load_host(source, dtype=dtype, device=device)
        except UnknownNameError as error:
            raise adapter.no_base(str(source), error) from error
    else:
        host = source if isinstance(source, Host) else load_host(source, tokenizer=tokenizer)
    named = str(source) if isinstance(source, str | Path) else ""
    other = adapter.other_base(host.model, named)
    if other is not None and load_host(other, dtype=host.dtype).weight_hash != host.weight_hash:
        raise adapter.of_other(f"{host.name!r} has other weights ({host.weight_hash[:12]}) than {other}")
    if named:
        return host
    return Host(_copy(host.model, dtype, device), host.tokenizer, name=host.name)


def _copy(model: PreTrainedModel, dtype: torch.dtype | None, device: Placement | None) -> PreTrainedModel:
    """A copy of a model in hand, to be merged into."""
    places = {parameter.device for parameter in model.parameters()}
    if len(places) > 1 or _is_spread(device):
        raise MismatchError(
            f"a model in hand, on {len(places)} devices, is the base of an adapter for device={device!r}",
            allowed="a model on one device, and a copy of it on one",
            do="give the base by its directory or name, which is then read anew",
        )
    copied = copy.deepcopy(model)
    if dtype is not None:
        nn.Module.to(copied, dtype=dtype)
    return copied


def _is_spread(device: Placement | None) -> bool:
    """Whether it is Hugging Face that places the modules."""
    return isinstance(device, dict) or (isinstance(device, str) and device in DEVICE_MAPS)


def _check_no_base(base: object, source: object) -> None:
    if base is not None:
        raise ArgumentError(
            f"base is {describe(base)}, and {describe(source)} is no adapter",
            allowed="base= beside an adapter, which is merged into it",
            do="leave base out; two models are rm.load_pair(base=..., thinking=...)",
        )


def _from_object(source: PreTrainedModel | TransformerBridge) -> tuple[PreTrainedModel, str]:
    if isinstance(source, PreTrainedModel):
        return source, source.name_or_path or ""
    if is_bridge(source):
        return model_of_bridge(source), str(source.cfg.model_name)
    if any(base.__module__.partition(".")[0] == "peft" for base in type(source).__mro__):
        raise ArgumentError(
            f"{describe(source)} wraps a model and its adapter",
            allowed="a plain transformers model",
            do="merge it first: rm.load_host(peft_model.merge_and_unload(), tokenizer=...)",
        )
    raise ArgumentError(
        f"{describe(source)} is no model that can be studied",
        allowed="a path, a Hub name, a transformers PreTrainedModel, a TransformerBridge",
        do='rm.load_host("owner/name"), or one side of rm.load_pair(...)',
    )


def _check_finite(model: PreTrainedModel, *, n_tokens: int, name: str) -> None:
    """Raise NonFiniteError where a weight is not finite; of rows that no token has, these are named."""
    bad = {key: weight for key, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())}
    if not bad:
        return
    happened = f"{len(bad)} weights of {name!r} hold NaN or infinity, the first is {next(iter(bad))}"
    of_tokens = (model.get_input_embeddings(), model.get_output_embeddings())
    by_token = {id(module.weight) for module in of_tokens if module is not None}
    rows = [(~torch.isfinite(weight)).nonzero()[:, 0] for weight in bad.values()]
    first, last = min(int(of_one.min()) for of_one in rows), max(int(of_one.max()) for of_one in rows)
    if first >= n_tokens and all(id(weight) in by_token for weight in bad.values()):
        raise NonFiniteError(
            f"{happened}: in rows {first} to {last}, which none of the tokenizer's {n_tokens} tokens has",
            allowed="finite numbers in padded rows, too: the model may draw them",
            do=f"fill these rows in the checkpoint, weight[{n_tokens}:] = 0 of {' and '.join(bad)}, or cut "
            f"them off: model.resize_token_embeddings({n_tokens}); then save it again",
        )
    raise NonFiniteError(
        happened, do="load the checkpoint in the dtype it was trained in, or use another one"
    )
