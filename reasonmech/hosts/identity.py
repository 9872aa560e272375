"""Identity of a model: hashes of its tensors, of what its configuration makes of them, of its tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.digest import hash_tensors

# settings of a configuration that no pass in eval mode depends on, beyond the tensors and the ends of text
_NO_MATTER: Final = (
    "add_cross_attention",
    "architectures",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "vocab_size",
)
_NO_MATTER_ENDS: Final = ("dropout", "_pdrop")
WHOLE: Final = 4096  # elements up to which all of a tensor is looked at when it is asked whether it changed
SAMPLED: Final = 256  # elements that are looked at of a larger one


@final
class WeightHash:
    """SHA-256 of a model's state dict, computed when first asked for, and again where a tensor was edited.

    An edit is noticed by the tensor's place, torch's version counter, and its elements, of a tensor of more
    than `WHOLE` `SAMPLED` of them: what `.data` or numpy does to a few elements of a large matrix is not.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._marks: dict[str, tuple[int, int, int]] = {}
        self._hash = ""

    def value(self) -> str:
        state = self._model.state_dict()
        marks = {name: _mark(tensor) for name, tensor in state.items()}
        if marks != self._marks:
            self._hash, self._marks = hash_tensors(state), marks
        return self._hash


def _mark(tensor: Tensor) -> tuple[int, int, int]:
    flat = tensor.detach().reshape(-1)
    every = 1 if len(flat) <= WHOLE else len(flat) // SAMPLED
    sample = flat[::every].contiguous().view(torch.uint8).cpu()
    version = -1 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, hash(sample.numpy().tobytes())


def hash_config(config: PretrainedConfig) -> str:
    """SHA-256 of the settings that change a pass: norms, rope, activation, windows, softcaps, widths ...

    Settings at their class's default are left out, so that a later transformers may add some; so are names,
    paths, versions, dropouts and special ids.
    """
    defaults = _settings(type(config)().to_dict())
    settings = _settings(config.to_dict())
    differing = {
        key: value for key, value in settings.items() if key not in defaults or value != defaults[key]
    }
    return _hash([config.model_type, differing])


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _settings(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in _NO_MATTER and not str(key).startswith("_") and not str(key).endswith(_NO_MATTER_ENDS)
    }


def hash_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what a tokenizer does: words, merges, normaliser, pre-tokenizer, added tokens, BOS, decoder.

    Of one without a Rust backend: its words and special tokens alone.
    """
    if tokenizer.is_fast:
        fast: Any = tokenizer
        behaviour: Any = json.loads(fast.backend_tokenizer.to_str())
        for state in ("truncation", "padding", "version"):  # of the last call, and of the file's format
            behaviour.pop(state, None)
    else:
        behaviour = [sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map]
    return _hash([behaviour, str(tokenizer.bos_token)])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
