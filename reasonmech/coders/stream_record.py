"""StreamRecord: what the record of an SAE says of the activations that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.site import HEADED, Site

KWARGS: Final = "model_from_pretrained_kwargs"
CENTRED: Final = "center_writing_weights"
# Folding moves numbers between a norm, the matrices that read it and the logits: no site sees it.
_UNSEEN: Final = frozenset({"fold_ln", "center_unembed", "first_n_layers", "n_ctx", "default_padding_side"})
_PLACEMENT: Final = frozenset(
    {"dtype", "torch_dtype", "device", "device_map", "n_devices", "move_to_device", "trust_remote_code"}
    | {"attn_implementation", "default_prepend_bos", "cache_dir", "local_files_only"}
)
# These move the bias of values, or a rotation of them, from one side of `z` to the other.
_SEEN_BY_HEADS: Final = frozenset({"fold_value_biases", "refactor_factored_attn_matrices"})
_CHECKPOINT: Final = frozenset({"revision", "checkpoint_index", "checkpoint_value", "checkpoint_label"})


class StreamRecord(NamedTuple):
    """The activations that a coder was trained on, as its record has them; None where it says nothing.

    Attributes:
        centred: whether the stream's mean over its dimensions was taken out of every token (TransformerLens'
            center_writing_weights).
        checkpoint: which checkpoint of the model, where that is not the published one.
        prepend_bos: whether every text began with a BOS that was put there.
        context_size: tokens of the longest text.
        positions: [start, stop) of the positions read in each text, as a Python slice has it.
        left_out: token ids that were left out; True for all special tokens.
    """

    centred: bool
    checkpoint: str | None
    prepend_bos: bool | None
    context_size: int | None
    positions: tuple[int | None, int | None] | None
    left_out: frozenset[int] | bool


def read_stream_record(metadata: Mapping[str, Any], site: Site, *, name: str) -> StreamRecord:
    """Read what SAELens, or whoever wrote the metadata, says of the stream.

    Raises:
        MismatchError: the model was changed in a way that changes the stream, and can't be followed here.
        CorruptFileError: a value of another type than it has.
    """
    kwargs = metadata.get(KWARGS) or {}
    if not isinstance(kwargs, Mapping):
        raise _corrupt(name, KWARGS, kwargs, "a mapping")
    changed = {key: value for key, value in kwargs.items() if value is not None and value is not False}
    at_heads = frozenset() if site.kind == HEADED else _SEEN_BY_HEADS
    known = _UNSEEN | _PLACEMENT | _CHECKPOINT | at_heads | {CENTRED}
    if unknown := sorted(changed.keys() - known):
        listed = ", ".join(f"{key}={kwargs[key]}" for key in unknown)
        raise MismatchError(
            f"coder {name!r} was trained on a model loaded with {listed}, whose {site} is not that of the "
            "plain model",
            allowed=f"{CENTRED}, which is followed, and what changes no activation: "
            + ", ".join(sorted(_UNSEEN | at_heads)),
            do="use a coder that was trained on the plain model",
        )
    checkpoint = ", ".join(f"{key}={changed[key]}" for key in sorted(changed.keys() & _CHECKPOINT))
    return StreamRecord(
        centred=CENTRED in changed and site.kind != HEADED,
        checkpoint=checkpoint or None,
        prepend_bos=_value(metadata, "prepend_bos", bool, name=name),
        context_size=_size(metadata, name=name),
        positions=_positions(metadata.get("seqpos_slice"), name=name),
        left_out=_left_out(metadata.get("exclude_special_tokens"), name=name),
    )


def _value(metadata: Mapping[str, Any], key: str, kind: type, *, name: str) -> Any:
    value = metadata.get(key)
    if value is not None and type(value) is not kind:
        raise _corrupt(name, key, value, "a truth value" if kind is bool else "a whole number")
    return value


def _size(metadata: Mapping[str, Any], *, name: str) -> int | None:
    size = _value(metadata, "context_size", int, name=name)
    if size is not None and size < 1:
        raise _corrupt(name, "context_size", size, "1 or more")
    return size


def _positions(value: Any, *, name: str) -> tuple[int | None, int | None] | None:
    """(None,), (stop,), (start, stop) and (start, stop, 1) are SAELens' arguments of `slice`."""
    if value is None:
        return None
    ends: list[Any] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    whole = all(end is None or type(end) is int for end in ends)
    if not whole or not 1 <= len(ends) <= 3 or (len(ends) == 3 and ends[2] not in (None, 1)):
        raise _corrupt(name, "seqpos_slice", value, "a start and a stop")
    start, stop = (None, ends[0]) if len(ends) == 1 else (ends[0], ends[1])
    return None if start is None and stop is None else (start, stop)


def _left_out(value: object, *, name: str) -> frozenset[int] | bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, Sequence) or not all(type(token) is int for token in value):
        raise _corrupt(name, "exclude_special_tokens", value, "a truth value, or token ids")
    return frozenset(value)


def _corrupt(name: str, key: str, value: object, allowed: str) -> CorruptFileError:
    return CorruptFileError(
        f"the record of coder {name!r} says {key} = {describe(value)}", allowed=allowed, do="copy it again"
    )
