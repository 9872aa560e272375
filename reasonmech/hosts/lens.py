"""The TransformerBridge over a host's weights. The only module that imports transformer_lens."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerBase

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_WRAPPED = "._original_component"


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Importing transformer_lens 3.9 silences the whole `transformers` logger and adds a warning filter: undo both."""
    logger, filters = logging.getLogger("transformers"), warnings.filters[:]
    level = logger.level
    try:
        yield
    finally:
        logger.setLevel(level)
        warnings.filters[:] = filters


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

    transformer_lens reloads a tokenizer that has a BOS token through AutoTokenizer, which turns some tokenizers
    into ones that encode every text to nothing; a copy marked `add_bos_token` is kept as it is.

    Raises:
        MismatchError: the bridge does not encode as the host's tokenizer does.
    """
    with _quiet_import():
        from transformer_lens.model_bridge import TransformerBridge

    kept = copy.deepcopy(tokenizer)
    if kept.bos_token is not None:
        kept.init_kwargs |= {"name_or_path": kept.init_kwargs.get("name_or_path", name), "add_bos_token": True}
    device = model.get_input_embeddings().weight.device
    return TransformerBridge.boot_transformers(
        name, hf_model=twin_of(model), tokenizer=kept, device=str(device), dtype=model.dtype
    )
