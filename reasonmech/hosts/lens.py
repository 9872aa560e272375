"""The TransformerBridge over a host's weights. The only module that imports transformer_lens."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.acting import acting_on
from reasonmech.errors import MismatchError
from reasonmech.hosts.architecture import Architecture
from reasonmech.quiet import quiet_import
from reasonmech.site import Site

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge  # noqa: TID251 - this is the adapter

_WRAPPED: Final = "._original_component"


def twin_of(model: PreTrainedModel) -> PreTrainedModel:
    """A second module tree over the very same parameters and buffers, without the first one's hooks."""
    shared: dict[int, object] = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    twin = copy.deepcopy(model, shared)
    for module in twin.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return twin


def build_lens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str) -> TransformerBridge:
    """Boot a TransformerBridge on a parameter-sharing twin; raw weights, nothing folded or centred.

    transformer_lens reloads a tokenizer that has a BOS token through AutoTokenizer, which turns some
    tokenizers into ones that encode every text to nothing; a copy marked `add_bos_token` is kept as it is.
    """
    with quiet_import():
        from transformer_lens.model_bridge import TransformerBridge  # noqa: TID251 - this is the adapter

    twin, kept = twin_of(model), copy.deepcopy(tokenizer)
    if twin.config.architectures is None:
        twin.config.architectures = [type(model).__name__]
    if kept.bos_token is not None:
        kept.init_kwargs |= {"name_or_path": name, "add_bos_token": True}
    device = model.get_input_embeddings().weight.device
    return TransformerBridge.boot_transformers(
        name, hf_model=twin, tokenizer=kept, device=str(device), dtype=model.dtype
    )


def hook_of_site(bridge: TransformerBridge, site: Site, paths: Architecture) -> str | None:
    """Name of the hook at which a site's tensor passes; None where the bridge shows it nowhere."""
    match site.kind:
        case "resid_pre":
            return f"blocks.{site.layer}.hook_in"
        case "resid_post":
            return f"blocks.{site.layer}.hook_out"
        case "resid_mid":
            return f"blocks.{site.layer}.ln2.hook_in"
        case "z":
            return f"blocks.{site.layer}.attn.o.hook_in"
        case "attn_out":
            return hook_of_part(bridge, site.layer, paths.attention, side="hook_out")
    return hook_of_part(bridge, site.layer, paths.mlp, side="hook_out")


def hook_of_part(
    bridge: TransformerBridge, layer: int, path: str, *, side: Literal["hook_in", "hook_out"]
) -> str | None:
    """Name of the hook on one side of what wraps the submodule `path` of a block; None where nothing does."""
    parts = bridge.blocks[layer].submodules.items()
    return next((f"blocks.{layer}.{name}.{side}" for name, part in parts if part.name == path), None)


def is_bridge(source: object) -> bool:
    """Whether this is a TransformerBridge, without importing transformer_lens to find out."""
    return any(base.__module__.startswith("transformer_lens") for base in type(source).__mro__)


def model_of_bridge(bridge: TransformerBridge) -> PreTrainedModel:
    """A plain Hugging Face model over the parameters of a TransformerBridge, which is left as it is.

    A bridge renames what it wraps (`attn._original_component.q_proj`) and adds split copies of fused
    matrices; the names without the infix are the original ones.

    Raises:
        MismatchError: the bridge has folded or centred its weights, or has hooks, so its activations are no
            longer the model's.
    """
    hooks = [line for name, part in bridge.named_modules() for line in acting_on(name or "the bridge", part)]
    if hooks:
        raise MismatchError(
            f"this TransformerBridge has {hooks[0]}: what is studied is the plain model over its weights, "
            "which has not",
            allowed="a bridge without hooks, permanent ones too",
            do="call bridge.reset_hooks(including_permanent=True); hooks may be added again afterwards",
        )
    if bridge._weights_processed:
        raise MismatchError(
            "this TransformerBridge has folded and centred its weights: its activations are not the model's",
            allowed="a bridge with raw weights",
            do="boot it again without enable_compatibility_mode(), or with no_processing=True",
        )
    wrapped: Any = bridge.original_model
    with torch.device("meta"):
        model: PreTrainedModel = type(wrapped)(copy.deepcopy(wrapped.config))
    state = {key.replace(_WRAPPED, ""): tensor for key, tensor in wrapped.state_dict(keep_vars=True).items()}
    model.load_state_dict({key: state[key] for key in model.state_dict()}, assign=True)
    model.tie_weights()
    buffers = {key.replace(_WRAPPED, ""): buffer for key, buffer in wrapped.named_buffers()}
    for key, _ in list(model.named_buffers()):
        owner, _, leaf = key.rpartition(".")
        model.get_submodule(owner).register_buffer(leaf, buffers[key], persistent=False)
    model.eval()
    return model
