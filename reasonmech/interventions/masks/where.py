"""Where: masks that name tokens by what they are, over the whole text so far and causally.

Combine with `&`, `|`, `~`. Windows are half-open. A longer text never changes the mask of an earlier token.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, Final, final

from reasonmech.arguments import check_type, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.part import PlanPart, setting_text
from reasonmech.interventions.reading.spot import Spot
from reasonmech.registry import Registry
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

masks: Registry[type[Where]] = Registry("mask")
MASK: Final = "a mask: rm.generated(), rm.prompt(...), rm.tokens(...), rm.at(...), rm.labelled(...)"


@dataclass(frozen=True, repr=False)
class Where(PlanPart):
    """A causal mask over tokens. Subclasses are frozen dataclasses of JSON values."""

    registry: ClassVar[Registry[type[Where]]] = masks
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

    def words(self) -> frozenset[str]:
        """Words that it looks for by the characters that tokens spell, and by nothing else."""
        return frozenset()

    def row_counts(self) -> frozenset[int]:
        """How many rows a run must have, by each part that speaks of rows by their number."""
        return frozenset()

    @checked
    def reach(self, row: int) -> int:
        """Tokens that a text must have for every position it names in row `row` of the run to exist."""
        return 0

    @checked
    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        """Why it may name no token of these texts (token ids), in words; empty where it can't tell."""
        return ""

    @checked
    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        """Parts of it that read words of which these texts (token ids) have none, each with why."""
        return ()

    def to_json(self) -> dict[str, Json]:
        """Canonical form."""
        return {"kind": self.kind} | {field.name: _plain(self.__dict__[field.name]) for field in fields(self)}

    @classmethod
    def from_plan(cls, value: Json, spot: Spot) -> Where:
        """The mask that stands at a spot of a plan file: of a kind, or `and: [...]`, `or: [...]`, `not: ...`.

        Raises:
            ConfigError: as for every part.
        """
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() & {"and", "or", "not"}:
            return super().from_plan(value, spot)
        [(operator, operands)] = value.items()
        inside = spot.inside(operator)
        if operator == "not":
            return Not(Where.from_plan(operands, inside))
        if not isinstance(operands, list) or len(operands) < 2:
            raise inside.mistyped(operands, allowed="a list of two masks or more")
        members = [Where.from_plan(one, inside.inside(i)) for i, one in enumerate(operands)]
        return reduce(Both if operator == "and" else Either, members)

    def __str__(self) -> str:
        settings = ((field.name, self.__dict__[field.name]) for field in fields(self))
        present = [(name, value) for name, value in settings if value is not None and value != ()]
        shown = ", ".join(f"{name}={setting_text(value)}" for name, value in present)
        return f"{self.kind}({shown})"

    def __repr__(self) -> str:
        return str(self)

    def __and__(self, other: Where) -> Where:
        return Both(self, other)

    def __or__(self, other: Where) -> Where:
        return Either(self, other)

    def __rand__(self, other: object) -> Where:
        """Only reached where the other side is no mask: refused as on the right. Raises ArgumentError."""
        raise _no_mask(other)

    __ror__ = __rand__

    def __invert__(self) -> Where:
        return Not(self)

    def __bool__(self) -> bool:
        """`a and b`, `not a` would silently be one of the masks, or a truth value. Raises ArgumentError."""
        raise ArgumentError(
            f"the truth value of the mask {self}",
            allowed="&, | and ~ between masks",
            do="write a & b, a | b, ~a in place of a and b, a or b, not a",
        )


def _plain(value: object) -> Json:
    if isinstance(value, Where):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _no_mask(value: object) -> ArgumentError:
    return ArgumentError(
        f"{describe(value)} combined with a mask",
        allowed=MASK,
        do="combine masks with masks: rm.generated() & ~rm.tokens('.')",
    )


@dataclass(frozen=True, repr=False)
class Combination(Where):
    """Two masks in one."""

    a: Where
    b: Where
    symbol: ClassVar[str]

    def __post_init__(self) -> None:
        for operand in (self.a, self.b):
            if not isinstance(operand, Where):
                raise _no_mask(operand)

    def __str__(self) -> str:
        return f"({self.a} {self.symbol} {self.b})"

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return replace(self, a=self.a.resolve(tokenizer), b=self.b.resolve(tokenizer))

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        return "; ".join(why for why in (self.a.absence(texts), self.b.absence(texts)) if why)

    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        return self.a.idle(texts) + self.b.idle(texts)

    def labels(self) -> frozenset[str]:
        return self.a.labels() | self.b.labels()

    def words(self) -> frozenset[str]:
        return self.a.words() | self.b.words()

    def row_counts(self) -> frozenset[int]:
        return self.a.row_counts() | self.b.row_counts()

    def reach(self, row: int) -> int:
        return max(self.a.reach(row), self.b.reach(row))


@masks.register("and")
@final
@dataclass(frozen=True, repr=False)
class Both(Combination):
    """`a & b`."""

    kind = "and"
    symbol = "&"

    def mask(self, step: Step) -> Mask:
        return self.a.mask(step) & self.b.mask(step)


@masks.register("or")
@final
@dataclass(frozen=True, repr=False)
class Either(Combination):
    """`a | b`."""

    kind = "or"
    symbol = "|"

    def mask(self, step: Step) -> Mask:
        return self.a.mask(step) | self.b.mask(step)


@masks.register("not")
@final
@dataclass(frozen=True, repr=False)
class Not(Where):
    """`~a`: every real token that `a` does not mark."""

    a: Where
    kind = "not"

    def __post_init__(self) -> None:
        check_type(self.a, Where, name="what ~ turns round", allowed=MASK)

    def __str__(self) -> str:
        return f"~{self.a}"

    def mask(self, step: Step) -> Mask:
        return ~self.a.mask(step)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Not(self.a.resolve(tokenizer))

    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        return self.a.idle(texts)

    def labels(self) -> frozenset[str]:
        return self.a.labels()

    def words(self) -> frozenset[str]:
        return self.a.words()

    def row_counts(self) -> frozenset[int]:
        return self.a.row_counts()

    def reach(self, row: int) -> int:
        return self.a.reach(row)
