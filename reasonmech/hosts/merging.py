"""merge: an adapter added to the weights of its base, by peft, and tried against the two side by side."""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.hosts.adapter import Adapter
from reasonmech.hosts.adapter_files import ADAPTER, AGAIN
from reasonmech.quiet import quiet_import

INSTALL: Final = "pip install 'peft>=0.17'"
_N_TOKENS: Final = 8
_ROUNDINGS: Final = 16.0  # of the largest logit: sums that are rounded before they are added, or after


def merge(adapter: Adapter, model: PreTrainedModel) -> PreTrainedModel:
    """Add the adapter's change to the weights of a model, in place, in the model's dtype.

    The sum is peft's: its `merge_and_unload`, tried on a few tokens against the adapter beside the base.

    Raises:
        MismatchError: peft is not installed or cannot merge this kind; the adapter has layers that the
            model has not, or other shapes.
    """
    names, alone = set(model.state_dict()), _logits(model)
    wrapped = _beside(adapter, model)
    beside = _logits(wrapped)
    try:
        merged: PreTrainedModel = wrapped.merge_and_unload()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise _unmergeable(adapter, f"peft says: {error}") from error
    if set(merged.state_dict()) != names:
        beyond = sorted(set(merged.state_dict()) ^ names)
        raise _unmergeable(adapter, f"after merging, {beyond[0]} is there beside the model's own weights")
    off, effect = (_farthest(beside, other) for other in (_logits(merged), alone))
    rounding = _ROUNDINGS * torch.finfo(merged.dtype).eps * float(beside.abs().max())
    if not off <= max(rounding, effect / 2):
        raise _unmergeable(
            adapter,
            f"merged it moves logits by {off:.2g} from those of base and adapter side by side, which are "
            f"{effect:.2g} from the base's",
        )
    _untie(merged)
    merged.name_or_path = str(adapter.directory)
    return merged.requires_grad_(False).eval()


def merging_settings(adapter: Adapter) -> Any:
    """peft's settings of an adapter, asked for before a base is read.

    Raises:
        MismatchError: peft is not installed, or the adapter is of a kind that is no change of weights.
    """
    if find_spec("peft") is None:
        raise MismatchError(
            f"{adapter.directory} holds an adapter ({adapter.kind}), which takes the package peft to merge",
            allowed="whole weights, where it is not installed",
            do=INSTALL,
        )
    with quiet_import():
        peft: Any = importlib.import_module("peft")
    if adapter.kind not in peft.PeftType.__members__:
        raise _unmergeable(adapter, "peft knows no such kind")
    try:
        settings = peft.PeftConfig.from_pretrained(str(adapter.directory))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"peft cannot read {adapter.directory / ADAPTER}: {error}", do=AGAIN
        ) from error
    if settings.is_prompt_learning or settings.is_adaption_prompt:
        raise _unmergeable(adapter, "it adds states to the text, and changes no weight")
    return settings


def _beside(adapter: Adapter, model: PreTrainedModel) -> Any:
    """The model with the adapter beside its layers, as peft puts it there."""
    config, peft = merging_settings(adapter), importlib.import_module("peft")
    config.inference_mode = True
    try:
        with warnings.catch_warnings(action="ignore"):  # what it warns of is refused below
            wrapped = peft.PeftModel(model, config)
            loaded = wrapped.load_adapter(str(adapter.directory), "default", torch_device=str(model.device))
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise _of_another(adapter, str(error).strip().splitlines()[-1].strip()) from error
    beyond, lacking = list(loaded.unexpected_keys), list(loaded.missing_keys)
    if beyond or lacking:
        name, n = (beyond or lacking)[0], len(beyond) + len(lacking)
        which = "the model has no place for" if beyond else "the adapter does not have"
        raise _of_another(adapter, f"{which} {name} ({n} such tensors)")
    return wrapped.eval()


def _unmergeable(adapter: Adapter, why: str) -> MismatchError:
    return MismatchError(
        f"the adapter in {adapter.directory} ({adapter.kind}) cannot be merged: {why}",
        allowed="adapters that are a change of weights: LoRA, DoRA, IA3, LoHa, LoKr, OFT, ...",
        do="study a model whose weights were trained",
    )


def _of_another(adapter: Adapter, why: str) -> MismatchError:
    of = f" of {adapter.base!r}" if adapter.base else ""
    return MismatchError(
        f"the adapter in {adapter.directory}{of} does not fit this base: {why}",
        allowed="the model that it was trained from: its layers, its widths, its rows of tokens",
        do="give that one as base=",
    )


def _logits(model: Any) -> Tensor:
    """Of a few tokens, in float32 on the CPU."""
    embedding = model.get_input_embeddings().weight
    ids = torch.linspace(len(embedding) // 8, len(embedding) // 2, _N_TOKENS, device=embedding.device).long()
    with torch.no_grad():
        return model(input_ids=ids[None], use_cache=False).logits.float().cpu()


def _farthest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _untie(model: PreTrainedModel) -> None:
    """Say so in a model's configuration where an adapter brought a head of its own along."""
    text = model.config.get_text_config()
    if text.to_dict().get("tie_word_embeddings") and _embedding(model) is not _head(model):
        text.tie_word_embeddings = model.config.tie_word_embeddings = False


def _embedding(model: PreTrainedModel) -> Tensor:
    return model.get_input_embeddings().get_parameter("weight")


def _head(model: PreTrainedModel) -> Tensor:
    head = model.get_output_embeddings()
    assert head is not None, "a causal language model has a head"
    return head.get_parameter("weight")
