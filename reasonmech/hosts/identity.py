"""Identity of a model: hashes of its tensors, of what its configuration makes of them, of its tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, final

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.digest import ModelIdentity
from reasonmech.hosts.deviations import Deviations
from reasonmech.hosts.vocabulary import hash_vocabulary, reading_of
from reasonmech.state_hash import StateHash

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
NAMES: Final = 512  # names of tokens that are looked at to see whether a vocabulary was exchanged
PROBED: Final = 64  # and how many of them are encoded


@final
class LiveIdentity:
    """What decides a model's numbers, read when it is asked for; what was hashed is hashed again where it was
    changed in hand."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._weights, self._deviations = StateHash(model), Deviations(model)
        self._config_as_given = hash_config(model.config)
        self._words: tuple[str, str, str] = ("", "", "")  # mark, hash, hash of the vocabulary alone

    @property
    def weight_hash(self) -> str:
        return self._weights.value()

    @property
    def vocabulary_hash(self) -> str:
        return self._read_tokenizer()[2]

    def _read_tokenizer(self) -> tuple[str, str, str]:
        mark = mark_tokenizer(self._tokenizer)
        if self._words[0] != mark:
            self._words = (mark, hash_tokenizer(self._tokenizer), hash_vocabulary(self._tokenizer))
        return self._words

    def read(self, eos_ids: Sequence[int]) -> ModelIdentity:
        """All of it, as it stands now."""
        config, deviations = hash_config(self._model.config), self._deviations.listed()
        if config != self._config_as_given:
            deviations = (*deviations, f"its configuration was edited ({self._config_as_given[:12]} before)")
        ends = hashlib.sha256(repr(tuple(eos_ids)).encode()).hexdigest()
        beyond = (hash_changed(config, deviations), self._read_tokenizer()[1], ends)
        return ModelIdentity(self.weight_hash, *beyond, deviations=deviations)


def hash_config(config: PretrainedConfig) -> str:
    """SHA-256 of the settings that change a pass: norms, rope, activation, windows, softcaps, widths ...

    Settings at their class's default are left out, so that a later transformers may add some; so are names,
    paths, versions, dropouts and special ids.
    """
    return _hash([config.model_type, settings_of(config)])


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """The settings that `hash_config` hashes, by name."""
    defaults, settings = _defaults(type(config)), _settings(config.to_dict())
    return {key: value for key, value in settings.items() if key not in defaults or value != defaults[key]}


@lru_cache(maxsize=16)
def _defaults(kind: type[PretrainedConfig]) -> Mapping[str, Any]:
    return _settings(kind().to_dict())


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


def hash_changed(config: str, deviations: Sequence[str]) -> str:
    """`hash_config`, where a model is as its configuration makes it; with what deviates, another hash."""
    return _hash([config, list(deviations)]) if deviations else config


def mark_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """What shows that a tokenizer was changed in hand, without reading all of it: its settings, `reading_of`
    it, up to `NAMES` names of its vocabulary, and how some of them are encoded. Other merges of a large
    vocabulary that leave these as they are go unnoticed.
    """
    size = len(tokenizer)
    ids = list(range(0, size, max(1, size // NAMES)))
    names = [str(name) for name in tokenizer.convert_ids_to_tokens(ids)]
    settings = {name: value for name, value in vars(tokenizer).items() if isinstance(value, bool)}
    probe = tokenizer.encode(" ".join(names[:PROBED]) + "".join(names[-PROBED:]))
    added = sorted((i, repr(token)) for i, token in tokenizer.added_tokens_decoder.items())
    return _hash([reading_of(tokenizer), names, sorted(settings.items()), probe, added])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
