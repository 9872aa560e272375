"""Where each Hugging Face architecture keeps its blocks, its halves of a block and its final norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reasonmech.errors import MismatchError
from reasonmech.registry import Registry


@dataclass(frozen=True)
class Architecture:
    """Dotted submodule paths of one `model_type`.

    Attributes:
        layers: list of blocks, from the model.
        norm: final norm, from the model.
        attention, mlp: modules, from a block, whose output is added to the residual stream *as is*
            (the post-norm where the architecture has one, as in Gemma 2 and 3).
    """

    layers: str
    norm: str
    attention: str
    mlp: str


architectures: Registry[Architecture] = Registry("architecture")

_LLAMA_LIKE: Final = Architecture("model.layers", "model.norm", "self_attn", "mlp")
_POST_NORM: Final = Architecture("model.layers", "model.norm", "post_attention_layernorm", "post_feedforward_layernorm")

for _kind in ("llama", "mistral", "qwen2", "qwen3", "gemma"):
    architectures.register(_kind)(_LLAMA_LIKE)
for _kind in ("gemma2", "gemma3_text"):
    architectures.register(_kind)(_POST_NORM)
architectures.register("gpt2")(Architecture("transformer.h", "transformer.ln_f", "attn", "mlp"))
architectures.register("gpt_neox")(Architecture("gpt_neox.layers", "gpt_neox.final_layer_norm", "attention", "mlp"))


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
