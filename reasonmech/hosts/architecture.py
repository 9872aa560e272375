"""Where each Hugging Face architecture keeps its blocks, its halves of a block and its final norm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from torch import nn

from reasonmech.door import checked
from reasonmech.errors import MismatchError
from reasonmech.registry import Registry


@checked
@dataclass(frozen=True)
class Architecture:
    """Dotted submodule paths of one `model_type`.

    Attributes:
        layers: list of blocks, from the model.
        norm: final norm, from the model.
        attention, mlp: modules, from a block, whose output is added to the residual stream *as is*
            (the post-norm where the architecture has one, as in Gemma 2 and 3).
        projection: module, from a block, whose input is the heads' mixed values side by side (`z`); None
            where there is no such module.
        entry: module, from a block, whose input is the stream that entered the block; None where there is no
            such module, or where the halves of a block never meet in between (no `resid_mid`).
    """

    layers: str
    norm: str
    attention: str
    mlp: str
    projection: str | None = None
    entry: str | None = None


architectures: Registry[Architecture] = Registry("architecture")

_LLAMA_LIKE: Final = Architecture(
    layers="model.layers",
    norm="model.norm",
    attention="self_attn",
    mlp="mlp",
    projection="self_attn.o_proj",
    entry="input_layernorm",
)
_POST_NORM: Final = Architecture(
    layers="model.layers",
    norm="model.norm",
    attention="post_attention_layernorm",
    mlp="post_feedforward_layernorm",
    projection="self_attn.o_proj",
    entry="input_layernorm",
)
_GPT2: Final = Architecture(
    layers="transformer.h",
    norm="transformer.ln_f",
    attention="attn",
    mlp="mlp",
    projection="attn.c_proj",
    entry="ln_1",
)
_NEOX: Final = Architecture(
    layers="gpt_neox.layers",
    norm="gpt_neox.final_layer_norm",
    attention="attention",
    mlp="mlp",
    projection="attention.dense",
    entry="input_layernorm",
)

for _kind in ("llama", "mistral", "qwen2", "qwen3", "gemma"):
    architectures.register(_kind)(_LLAMA_LIKE)
for _kind in ("gemma2", "gemma3_text"):
    architectures.register(_kind)(_POST_NORM)
architectures.register("gemma3")(  # the model that sees images: its text model, read through its own head
    replace(_POST_NORM, layers="model.language_model.layers", norm="model.language_model.norm")
)
architectures.register("gpt2")(_GPT2)
architectures.register("gpt_neox")(_NEOX)


def architecture_of(model_type: str) -> Architecture:
    """Layout of a Hugging Face `model_type`.

    Raises:
        MismatchError: nobody registered it; the known ones are listed.
    """
    if model_type not in architectures.kinds():
        raise MismatchError(
            f"models of type {model_type!r} are not mapped to sites",
            allowed=", ".join(architectures.kinds()),
            do="register it: reasonmech.hosts.architectures.register(model_type)(Architecture(...))",
        )
    return architectures.get(model_type)


def check_paths(model: nn.Module, architecture: Architecture, model_type: str) -> None:
    """Raise MismatchError where a path of an architecture leads to no module of a model."""
    _check_path(model, architecture.norm, f"norm= of {model_type!r}")
    _check_path(model, architecture.layers, f"layers= of {model_type!r}")
    for block in model.get_submodule(architecture.layers).children():
        for name in ("attention", "mlp", "projection", "entry"):
            path: str | None = vars(architecture)[name]
            if path is not None:
                _check_path(block, path, f"{name}= of {model_type!r}")


def _check_path(parent: nn.Module, path: str, place: str) -> None:
    try:
        parent.get_submodule(path)
    except AttributeError as error:
        raise MismatchError(
            f"{place} is {path!r}, and {type(parent).__name__} has no such module",
            allowed=", ".join(name for name, _ in parent.named_modules() if name.count(".") < 2 and name)[
                :300
            ],
            do="mend its entry of reasonmech.hosts.architectures",
        ) from error
