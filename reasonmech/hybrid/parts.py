"""The parts of a hybrid: a gate says when, a selector says which category, an executor says what is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts import Host
from reasonmech.registry import Registry
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.rerun import CleanPast
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

T = TypeVar("T")
ReadStream = Callable[[Int[Tensor, " row"], Site], Float[Tensor, "row d_model"]]


def _no_stream(rows: Int[Tensor, " row"], site: Site) -> Float[Tensor, "row d_model"]:
    raise DataError(
        f"a moment without a model: {site} of {len(rows)} rows cannot be read", do="decode a hybrid"
    )


def _of_no_row() -> Int[Tensor, " batch"]:
    return torch.zeros(0, dtype=torch.long)


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of a base/thinking pair in lockstep over the same text: what a controller may look at.

    Attributes:
        base, thinking: next-token logits of both models, on their device.
        base_choice, thinking_choice: the token each would write (greedy, or its draw under common noise),
            CPU.
        category: category of the token that the thinking model would write, CPU.
        base_alone_ends: whether that token ends the base's text and not the thinking model's, CPU.
        boundary: whether the next token begins a sentence, CPU.
        keys, position: noise key of the row and absolute position of the next token, CPU: randomness of null
            arms depends on nothing else, so it does not depend on the batch.
        temperature: at which tokens are drawn; 0 is greedy.
        base_category: category of the token that the base would write, CPU.
        sentence: number of the sentence that the next token stands in, from 0, CPU.
        rows: what each row is: its problem, its sample, its number in the run.
        stream: reads the base's own, unsteered stream at the last token of some rows. Costs a pass of them.
        thinking_stream: the same of the thinking model.
    """

    base: NextLogits
    thinking: NextLogits
    base_choice: Int[Tensor, " batch"]
    thinking_choice: Int[Tensor, " batch"]
    category: Int[Tensor, " batch"]
    base_alone_ends: Bool[Tensor, " batch"]
    boundary: Bool[Tensor, " batch"]
    keys: Int[Tensor, " batch"]
    position: Int[Tensor, " batch"]
    temperature: float = 0.0
    base_category: Int[Tensor, " batch"] = field(default_factory=_of_no_row)
    sentence: Int[Tensor, " batch"] = field(default_factory=_of_no_row)
    rows: Sequence[RowInfo] = ()
    stream: ReadStream = _no_stream
    thinking_stream: ReadStream = _no_stream

    @property
    def apart(self) -> Bool[Tensor, " batch"]:
        """Where the models would write different tokens, or one with which only the base would end."""
        return (self.base_choice != self.thinking_choice) | self.base_alone_ends


@runtime_checkable
class HybridGate(Protocol):
    """When: the rows to be steered at this moment."""

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]: ...


@runtime_checkable
class KnowsEnds(Protocol):
    """A gate that reads which tokens end a text; it is told anew when a batch begins."""

    def with_ends(self, ends: Sequence[int]) -> HybridGate:
        """The same gate, for models with these ends of text."""
        ...


@runtime_checkable
class Selector(Protocol):
    """Which: a category per row."""

    def select(self, moment: Moment) -> Int[Tensor, " batch"]: ...


@runtime_checkable
class NamesCategories(Protocol):
    """A selector whose categories are no kinds of sentence."""

    @property
    def categories(self) -> tuple[str, ...]: ...

    @property
    def reads_thinking_at(self) -> Site:
        """A resid_post of the thinking model, read at every token."""
        ...

    def check_thinking(self, thinking: Host) -> None:
        """Raise MismatchError where they are of another thinking model."""
        ...


@runtime_checkable
class Executor(Protocol):
    """What: next-token logits of some rows of the base model, steered towards their category."""

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Whether it can do anything for these categories; a row that it does not cover is left alone."""
        ...

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        """Logits for `rows`; `context` is the clean context of the whole batch."""
        ...


@runtime_checkable
class WritesAt(Protocol):
    """An executor that writes the base's stream at one site: blocks below it are not run again.

    Its `execute` names the site: `context.select(rows, site=self.site)`.
    """

    @property
    def site(self) -> Site: ...


@runtime_checkable
class OfOneModel(Protocol):
    """An executor that writes the stream of one model, for categories in one order."""

    def check(self, host: Host, categories: Sequence[str]) -> None:
        """Raise MismatchError where the base of a hybrid is another model, or its categories are others."""
        ...


_ALLOWED: Final = {
    "gate": "an instance of a class with opens(moment), such as DisagreementGate()",
    "selector": "an instance of a class with select(moment), such as OfThinking()",
    "executor": "an instance of a class with covers and execute, such as trained vectors",
    "kinds": "kinds of sentence, such as a task's: tasks.get(name).kinds(tokenizer)",
}


def check_part(value: object, protocol: type[T], *, name: str) -> T:
    """`value`, if it has what a part of a hybrid needs. Raises ArgumentError for anything else.

    A class has the same methods as its instances, so it would pass as one.
    """
    if isinstance(value, type) or not isinstance(value, protocol):
        raise ArgumentError(f"{name} is {describe(value)}", allowed=_ALLOWED[name])
    return value


# What is registered is called with a part's settings: a class, or a function with a parameter `ingredients`.
gates: Registry[Callable[..., HybridGate]] = Registry("hybrid gate")
selectors: Registry[Callable[..., Selector]] = Registry("selector")
executors: Registry[Callable[..., Executor]] = Registry("executor")
