"""Ends of text: every token that a model's folder says a text ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError

EosIds: TypeAlias = "int | Sequence[int] | None"


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, rows: int) -> tuple[int, ...]:
    """Ids of the tokens that end a text, each once: the tokenizer's `eos_token`, then the generation
    config's.

    generation_config.json may name several (Llama 3, Gemma 3) or another one than the tokenizer (Qwen's base
    models). Where it names none, config.json does. An id that the model has no row for is never drawn, and
    left out.

    Args:
        rows: of the unembedding.
    """
    words: Any = tokenizer  # transformers types a special token as anything a config may hold
    settings = (model.config.to_dict(), model.config.get_text_config().to_dict())
    generation: Any = model.generation_config
    named = [] if generation is None else _listed(generation.eos_token_id)
    named = named or [i for values in settings for i in _listed(values.get("eos_token_id"))]
    ids = [*_listed(words.eos_token_id), *named]
    return tuple(dict.fromkeys(i for i in ids if 0 <= i < rows))


def _listed(ids: EosIds) -> list[int]:
    if ids is None:
        return []
    listed: Any = [ids] if not isinstance(ids, list | tuple) else ids
    for i in listed:
        if not isinstance(i, int) or isinstance(i, bool):
            raise CorruptFileError(
                f"eos_token_id is {describe(ids)}",
                allowed="a token id, or a list of them",
                do="mend it in config.json or generation_config.json; of a model in hand, in model.config or "
                "model.generation_config",
            )
    return [int(i) for i in listed]
