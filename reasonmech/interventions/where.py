"""Where: masks that name tokens by what they are, over the whole text so far and causally.

Combine with `&`, `|`, `~`. Windows are half-open. A longer text never changes the mask of an earlier token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final, final

import torch

from reasonmech.errors import BindError, UnknownNameError
from reasonmech.interventions.canonical import Json
from reasonmech.registry import Registry
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

masks: Registry[type[Where]] = Registry("mask")


@dataclass(frozen=True)
class Where(ABC):
    """A causal mask over tokens. Subclasses are frozen dataclasses of JSON values."""

    kind: ClassVar[str]

    @abstractmethod
    def mask(self, step: Step) -> Mask:
        """One mark for every token so far [batch, seq]; what it says of padding is ignored."""

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        """The same mask with words turned into token ids."""
        return self

    def labels(self) -> frozenset[str]:
        """Names of the labels it needs."""
        return frozenset()

    def reach(self, row: int) -> int:
        """Tokens that a text must have for every position it names in row `row` of the run to exist."""
        return 0

    def to_json(self) -> dict[str, Json]:
        """Canonical form."""
        return {"kind": self.kind} | {field.name: _plain(self.__dict__[field.name]) for field in fields(self)}

    def __str__(self) -> str:
        given = ((field.name, self.__dict__[field.name]) for field in fields(self))
        settings = ", ".join(f"{name}={value!r}" for name, value in given if value not in (None, ()))
        return f"{self.kind}({settings})"

    def __and__(self, other: Where) -> Where:
        return Both(self, other)

    def __or__(self, other: Where) -> Where:
        return Either(self, other)

    def __invert__(self) -> Where:
        return Not(self)


def _plain(value: object) -> Json:
    if isinstance(value, Where):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@final
@dataclass(frozen=True)
class Both(Where):
    """`a & b`."""

    a: Where
    b: Where
    kind = "and"

    def __str__(self) -> str:
        return f"({self.a} & {self.b})"

    def mask(self, step: Step) -> Mask:
        return self.a.mask(step) & self.b.mask(step)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Both(self.a.resolve(tokenizer), self.b.resolve(tokenizer))

    def labels(self) -> frozenset[str]:
        return self.a.labels() | self.b.labels()

    def reach(self, row: int) -> int:
        return max(self.a.reach(row), self.b.reach(row))


@final
@dataclass(frozen=True)
class Either(Where):
    """`a | b`."""

    a: Where
    b: Where
    kind = "or"

    def __str__(self) -> str:
        return f"({self.a} | {self.b})"

    def mask(self, step: Step) -> Mask:
        return self.a.mask(step) | self.b.mask(step)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Either(self.a.resolve(tokenizer), self.b.resolve(tokenizer))

    def labels(self) -> frozenset[str]:
        return self.a.labels() | self.b.labels()

    def reach(self, row: int) -> int:
        return max(self.a.reach(row), self.b.reach(row))


@final
@dataclass(frozen=True)
class Not(Where):
    """`~a`: every real token that `a` does not mark."""

    a: Where
    kind = "not"

    def __str__(self) -> str:
        return f"~{self.a}"

    def mask(self, step: Step) -> Mask:
        return ~self.a.mask(step)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Not(self.a.resolve(tokenizer))

    def labels(self) -> frozenset[str]:
        return self.a.labels()

    def reach(self, row: int) -> int:
        return self.a.reach(row)


@final
@dataclass(frozen=True)
class Everywhere(Where):
    """Every token."""

    kind = "everywhere"

    def mask(self, step: Step) -> Mask:
        return torch.ones_like(step.mask)


@final
@dataclass(frozen=True)
class Prompt(Where):
    """Prompt tokens in the window [start, stop) of the prompt; negative bounds count from its end, as in a
    slice."""

    start: int | None = None
    stop: int | None = None
    kind = "prompt"

    def mask(self, step: Step) -> Mask:
        at, length = step.positions, step.prompt_length[:, None]
        inside = at < length
        if self.start is not None:
            inside &= at >= (self.start if self.start >= 0 else length + self.start)
        if self.stop is not None:
            inside &= at < (self.stop if self.stop >= 0 else length + self.stop)
        return inside


@final
@dataclass(frozen=True)
class Generated(Where):
    """Generated tokens in the window [start, stop), counted from the first one."""

    start: int | None = None
    stop: int | None = None
    kind = "generated"

    def __post_init__(self) -> None:
        if min(self.start or 0, self.stop or 0) < 0:
            raise BindError(
                f"generated(start={self.start}, stop={self.stop})",
                allowed="bounds >= 0: nobody knows yet where a growing text ends",
            )

    def mask(self, step: Step) -> Mask:
        offset = step.positions - step.prompt_length[:, None]
        inside = offset >= (self.start or 0)
        return inside if self.stop is None else inside & (offset < self.stop)


@final
@dataclass(frozen=True)
class Labelled(Where):
    """Tokens that carry a label: given with the text in `forward`, made by a causal labeller in
    `generate`."""

    name: str
    kind = "labelled"

    def mask(self, step: Step) -> Mask:
        if self.name not in step.labels:
            raise UnknownNameError(
                "label",
                self.name,
                sorted(step.labels),
                do="pass labels= to forward, or labellers= to generate",
            )
        return step.labels[self.name]

    def labels(self) -> frozenset[str]:
        return frozenset({self.name})


EVERYWHERE: Final = Everywhere()


def everywhere() -> Where:
    """Every token of prompt and answer."""
    return EVERYWHERE


def prompt(start: int | None = None, stop: int | None = None) -> Where:
    """Prompt tokens [start, stop); `prompt(start=-1)` is where the first generated token is chosen."""
    return Prompt(start, stop)


def generated(start: int | None = None, stop: int | None = None) -> Where:
    """Generated tokens [start, stop). It cannot change the first one, which is chosen at the prompt's last
    token."""
    return Generated(start, stop)


def labelled(name: str) -> Where:
    """Tokens that carry a label of this name."""
    return Labelled(name)


for _mask in (Both, Either, Not, Everywhere, Prompt, Generated, Labelled):
    masks.register(_mask.kind)(_mask)
