"""Where: masks that name tokens by what they are, over the whole text so far and causally.

Combine with `&`, `|`, `~`. Windows are half-open. A longer text never changes the mask of an earlier token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, final

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


@masks.register("and")
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


@masks.register("or")
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


@masks.register("not")
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
