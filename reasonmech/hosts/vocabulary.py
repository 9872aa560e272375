"""Checks that a tokenizer really turns text into tokens and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError, MismatchError

N_PROBES: Final = 64


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    """Token ids of texts, each as `encode` has it."""
    around = affixes(tokenizer)
    return [_encode_between(tokenizer, text, *around) for text in texts]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text that goes on: what the tokenizer puts in front, once, and nothing behind.

    What it puts in front (a BOS, `[gMASK] <sop>`) and a text brings along, as chat templates do, once, twice
    or in part, stands there once; white space and padding before it are left out, for no model has read any
    there. What it appends, an end as a rule, is left out: after it a model begins another text.
    """
    return _encode_between(tokenizer, text, *affixes(tokenizer))


def check_characters(text: str) -> str:
    """The text. Raises DataError where it holds half a character, which no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 12) : error.start + 12])
        raise DataError(
            f"a text holds half a character (a lone surrogate) at {error.start}: {around}",
            allowed="text that UTF-8 can hold",
            do="JSON that was cut inside an emoji leaves such a half: text.encode(errors='ignore').decode()",
        ) from error
    return text


def _encode_between(
    tokenizer: PreTrainedTokenizerBase, text: str, front: list[int], behind: list[int]
) -> list[int]:
    check_characters(text)
    if front and (written := _behind_front(tokenizer, text.lstrip(), front)) is not None:
        return front + written
    ids = list(tokenizer.encode(text))
    return ids[: -len(behind)] if behind and ids[-len(behind) :] == behind else ids


def quoted(text: str) -> str:
    """A text, or the beginning of a long one, as a message quotes it."""
    return repr(text if len(text) < 60 else f"{text[:57]}...")


def _behind_front(tokenizer: PreTrainedTokenizerBase, text: str, front: list[int]) -> list[int] | None:
    """The tokens of a text behind those of the front that it begins with; None where it begins otherwise."""
    words: Any = tokenizer  # transformers types a special token as anything a config may hold
    padding: int | None = words.pad_token_id
    leading = [*front, *([] if padding is None else [padding])]
    if not any(text.startswith(str(words.convert_ids_to_tokens(token))) for token in leading):
        return None
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    run = list(takewhile(lambda token: token in leading or not decode(tokenizer, [token]).strip(), ids))
    last = max((i for i, token in enumerate(run) if token in front), default=None)
    return None if last is None else ids[last + 1 :]


def affixes(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts in front of a text, and behind it."""
    whole, plain = list(tokenizer.encode("a")), list(tokenizer.encode("a", add_special_tokens=False))
    for start in range(len(whole) - len(plain) + 1):
        if plain and whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return whole, []


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of token ids, special tokens included, spacing untouched.

    A text that begins with a piece that goes on (WordPiece's "##ing") has no mark of it: decoders leave it
    there, and no model has written "##".
    """
    text = str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    mark = piece_mark(tokenizer)
    if not mark or not text.startswith(mark):
        return text
    words: Any = tokenizer  # transformers types what an id of no token gives as if it were a name
    size = len(tokenizer)
    named = (words.convert_ids_to_tokens(int(i)) for i in ids if 0 <= int(i) < size)
    first = next((name for name in named if name is not None), "")
    return text.removeprefix(mark) if first.startswith(mark) and first != mark else text


def piece_mark(tokenizer: PreTrainedTokenizerBase) -> str:
    """With what the names of pieces begin that go on in a word; "" where no blank is put between tokens."""
    if not tokenizer.is_fast:
        return ""
    fast: Any = tokenizer
    decoder = fast.backend_tokenizer.decoder
    return decoder.prefix if isinstance(decoder, decoders.WordPiece) else ""


def check_rows(tokenizer: PreTrainedTokenizerBase, rows: int, *, name: str) -> None:
    """Raise MismatchError where an ordinary word has no row in the model.

    An added token may have none (Gemma 3's image token beside its text models, a pad token that somebody
    added): no text has it but one that spells it out, and that text is refused.
    """
    words: Any = tokenizer  # transformers types an attribute as anything a special token may be
    added = words.get_added_vocab()
    beyond = {i: token for token, i in tokenizer.get_vocab().items() if i >= rows and token not in added}
    if beyond:
        largest = max(beyond)
        raise MismatchError(
            f"the tokenizer of {name!r} has id {largest}, the model has {rows} rows",
            allowed=f"ids below {rows} of all words that it has not added: {beyond[largest]!r} is one",
            do="load the tokenizer that belongs to this model",
        )


def reading_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """How a tokenizer reads, beside its vocabulary: its size, special tokens, normaliser, pre-tokenizer, what
    it puts around a text, and its decoder. Microseconds; another one where it was changed in hand.
    """
    parts: list[str] = [str(len(tokenizer)), str(tokenizer.special_tokens_map)]
    if tokenizer.is_fast:
        fast: Any = tokenizer
        backend = fast.backend_tokenizer
        of_backend = (backend.normalizer, backend.pre_tokenizer, backend.post_processor, backend.decoder)
        parts += [str(part and part.__getstate__()) for part in of_backend]
    return "\0".join(parts)


def hash_vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over every token and its id, special ones included."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def check_round_trip(tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Encode and decode some of the tokenizer's own words; at least half must survive.

    transformers builds a tokenizer of the class that a checkpoint's model_type suggests, whatever its files
    say: a word-level tokenizer beside Qwen2 weights then encodes every text to nothing, without a warning.

    Raises:
        MismatchError: it does not return what was put in.
    """
    special = set(tokenizer.all_special_ids)
    ordinary = sorted(set(tokenizer.get_vocab().values()) - special)
    step = max(1, len(ordinary) // N_PROBES)
    words = [decode(tokenizer, [i]).strip() for i in ordinary[::step]]
    words = [word for word in words if word and "�" not in word]
    lost = [word for word in words if _round_trip(tokenizer, word) != word]
    if not words or 2 * len(lost) > len(words):
        shown = ", ".join(f"{w!r} -> {tokenizer.encode(w, add_special_tokens=False)}" for w in lost[:3])
        raise MismatchError(
            f"the tokenizer of {name!r} ({type(tokenizer).__name__}) loses {len(lost)} of {len(words)} of "
            "its own "
            f"words ({shown or 'none decodes to text'}): it silently encodes text to nothing, or to other "
            "text",
            allowed="a tokenizer that decodes what it encoded",
            do='give its file, which is read as it stands: tokenizer="DIRECTORY/tokenizer.json", or in a '
            "pair file base: {model: DIRECTORY, tokenizer: DIRECTORY/tokenizer.json}",
        )


def _round_trip(tokenizer: PreTrainedTokenizerBase, word: str) -> str:
    return decode(tokenizer, tokenizer.encode(word, add_special_tokens=False)).strip()
