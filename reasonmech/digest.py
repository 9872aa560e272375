"""Content hashes: two things with the same hash are the same, down to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from reasonmech.door import checked
from reasonmech.errors import MismatchError

if TYPE_CHECKING:
    from torch import Tensor

PARTS: Final = {"config": "config", "vocabulary": "tokenizer", "ends": "set of ends of text"}
SHOWN: Final = 3  # changes of a model that a message names


def hash_text(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor], *, salt: str = "") -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor, in name order; `salt` is hashed first."""
    import torch

    digest = hashlib.sha256(salt.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_weights(what: str, recorded: str | None, *, model: str, weights: str, do: str) -> None:
    """Raise MismatchError where something that belongs to one model's weights meets another model.

    An SAE, or a store, of other weights runs without complaint and gives plausible numbers that mean nothing.

    Args:
        what: what it is and what it has to do with its model: "coder 'x' was trained on weights".
        recorded: hash of the weights that it belongs to. None: nobody recorded them, so nothing is compared.
        model, weights: which model it meets ("host 'y'"), and that model's `weight_hash`.
        do: what the caller can do.
    """
    if recorded is not None and recorded != weights:
        raise MismatchError(
            f"{what} {recorded[:12]}..., which are not of {model} ({weights[:12]}...)",
            allowed="the very weights, in the same dtype",
            do=do,
        )


@checked
@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, as far as numbers depend on it: a name and a path say nothing.

    Attributes:
        weights: `weight_hash`, of its tensors.
        config: hash of the settings that change a pass (norms, rope, activation, windows ...).
        vocabulary: hash of what its tokenizer does.
        ends: hash of its ends of text.
            All three are None where a record is of a time when weights alone were kept: nothing is compared
            then but these.
        deviations: of a model in hand, what it has that its configuration does not make; for messages, as
            `config` tells it already.
    """

    weights: str
    config: str | None = None
    vocabulary: str | None = None
    ends: str | None = None
    deviations: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    @checked
    def of(cls, weights: str, beyond: Mapping[str, str] | None) -> ModelIdentity:
        """From a record: the hash of the weights, and what `beyond_weights` wrote, if it did."""
        known = beyond or {}
        return cls(weights, known.get("config"), known.get("vocabulary"), known.get("ends"))

    def beyond_weights(self) -> dict[str, str] | None:
        """The other hashes, as JSON; None where they are not known."""
        if self.config is None or self.vocabulary is None or self.ends is None:
            return None
        return {"config": self.config, "vocabulary": self.vocabulary, "ends": self.ends}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        parts = (self.weights, self.config, self.vocabulary, self.ends)
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


@runtime_checkable
class KnowsModel(Protocol):
    """What can say more of its model than the hash of the weights: hosts, activations, coders."""

    def model_identity(self) -> ModelIdentity | None:
        """Identity of the model it is, or belongs to; None where it records none."""
        ...


def identity_of(thing: object, weights: str | None) -> ModelIdentity | None:
    """What something says of its model; of one that does not know more, the hash of the weights."""
    if isinstance(thing, KnowsModel):
        return thing.model_identity()
    return None if weights is None else ModelIdentity(weights)


def check_model(
    what: str, recorded: ModelIdentity | None, now: ModelIdentity | None, *, model: str, do: str
) -> None:
    """Raise MismatchError where something that belongs to one model meets another.

    Args:
        what, model, do: as in `check_weights`.
        recorded: the model that it belongs to. None: nobody recorded it, so nothing is compared.
        now: the model that it meets.
    """
    if recorded is None or now is None:
        return
    check_weights(what, recorded.weights, model=model, weights=now.weights, do=do)
    ours, theirs = recorded.beyond_weights(), now.beyond_weights()
    if ours is None or theirs is None:
        return
    other = [name for part, name in PARTS.items() if ours[part] != theirs[part]]
    if other:
        raise MismatchError(
            f"{what} {recorded.weights[:12]}..., which are those of {model}, under another "
            f"{' and another '.join(other)}{_changes(now.deviations)}",
            allowed="the very weights, with the config, tokenizer and ends of text that they had",
            do=do,
        )


def _changes(deviations: Sequence[str]) -> str:
    """What a model has that its configuration does not make, as a part of a sentence."""
    more = f" and {len(deviations) - SHOWN} more" if len(deviations) > SHOWN else ""
    return f": now {'; '.join(deviations[:SHOWN])}{more}" if deviations else ""


def weights_alone(what: str) -> str:
    """What to say of a record of a time that kept no more of a model than the hash of its weights."""
    return (
        f"{what} was recorded with the hash of its model's weights alone: configuration, tokenizer and ends "
        "of text are not compared"
    )


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
