"""Kinds: the protocol that says which kind of sentence each row of a growing batch is writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.rollout import OTHER, STOP
from reasonmech.shapes import NextLogits


@runtime_checkable
class KindTracker(Protocol):
    """The sentences of a batch of growing texts, from the first generated token on. All tensors on the CPU.

    Attributes:
        boundary: [batch] rows whose next token begins a sentence.
    """

    @property
    def boundary(self) -> Bool[Tensor, " batch"]: ...

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Category of each row's next token if it were `proposed`: that of the sentence it would stand in.

        At a boundary that is the sentence which the token would begin. The state does not change.
        """
        ...

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append one token to every row."""
        ...

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these, in this order."""
        ...

    def copy(self) -> Self:
        """A tracker at the same place, on which what becomes of this one has no effect."""
        ...

    def put(self, rows: Int[Tensor, " row"], other: Self, others: Int[Tensor, " row"]) -> None:
        """Put rows where the rows `others` of another tracker of the same kinds are."""
        ...


@runtime_checkable
class Kinds(Protocol):
    """Categories of sentence, and how to follow them through texts that are being written.

    What a token's category is may depend on everything written before it. `tasks.chain.OneWordKinds` looks at
    the first token of a sentence alone.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each category; among them `rollout.OTHER`, for sentences that are of no kind."""
        ...

    def track(self, batch: int) -> KindTracker:
        """The tracker of a batch of texts in which nothing is written yet."""
        ...

    def label(self, tokens: Int[Tensor, " pos"]) -> Int[Tensor, " pos"]:
        """Category of every token of one generated text: what a tracker says, token by token."""
        tracker, categories = self.track(1), []
        for token in tokens:
            categories.append(tracker.category(token[None])[0])
            tracker.advance(token[None])
        return torch.stack(categories) if categories else torch.zeros(0, dtype=torch.long)


def opening_categories(kinds: Kinds, vocab_size: int) -> Int[Tensor, " token"]:
    """Category of every token of a vocabulary, were it the first of a text."""
    return kinds.track(vocab_size).category(torch.arange(vocab_size))


def sentence_starts(kinds: Kinds, texts: Sequence[Sequence[int]]) -> list[Bool[Tensor, " pos"]]:
    """Per generated text, given as ids, which of its tokens begin a sentence; all texts at once."""
    width = max(map(len, texts), default=0)
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], dtype=torch.long)
    tracker, starts = kinds.track(len(texts)), torch.zeros(len(texts), width, dtype=torch.bool)
    for offset in range(width):
        starts[:, offset] = tracker.boundary
        tracker.advance(ids[:, offset])
    return [row[: len(text)] for row, text in zip(starts, texts, strict=True)]


@final
class Openings:
    """First tokens of kinds: what makes probabilities of kinds out of those of tokens.

    A kind is as probable as all of its first tokens together: which of several words begins a sentence is no
    decision about its kind. Needs kinds that a first token decides, whatever was written before.

    Attributes:
        categories: [kind] number of each kind that some first token decides.
        tokens: [kind] the first tokens of each.
    """

    def __init__(self, kinds: Kinds, vocab_size: int, *, without: Sequence[str] = ()) -> None:
        """Args: without: names of kinds that are left out.

        Raises DataError where no first token decides a kind.
        """
        self._kinds, self._vocab_size, self._without = kinds, vocab_size, tuple(without)
        of_token = opening_categories(kinds, vocab_size)
        left_out = {kinds.names.index(name) for name in without if name in kinds.names}
        self.categories = tuple(k for k in sorted(set(of_token.tolist())) if k not in left_out)
        if {kinds.names[k] for k in self.categories} <= {OTHER}:
            raise DataError(
                f"no first token decides a kind among {', '.join(kinds.names)}",
                allowed="kinds that the first word of a sentence decides, as a chain world's",
                do="compare tokens: gate disagree",
            )
        self.tokens = tuple((of_token == k).nonzero()[:, 0] for k in self.categories)

    def __repr__(self) -> str:
        return f"Openings({len(self.categories)} kinds, {sum(map(len, self.tokens))} tokens)"

    def with_ends(self, ends: Sequence[int]) -> Openings:
        """The same, where these tokens and no others end a text: what `with_ends` makes of the kinds."""
        return Openings(with_ends(self._kinds, ends), self._vocab_size, without=self._without)

    def of_kinds(self, logits: NextLogits) -> Float[Tensor, "batch kind"]:
        """Logits of kinds: log sum exp over the first tokens of each; float32."""
        wide = logits.float()
        return torch.stack([wide[:, ids.to(wide.device)].logsumexp(-1) for ids in self.tokens], dim=-1)

    def columns(self, categories: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """Where kinds of these numbers stand in `of_kinds`."""
        return torch.tensor([self.categories.index(k) for k in categories.tolist()], dtype=torch.long)

    def likeliest(self, logits: NextLogits) -> Int[Tensor, " batch"]:
        """Number of the likeliest kind."""
        return torch.tensor(self.categories, device=logits.device)[self.of_kinds(logits).argmax(-1)]

    def compose(
        self, kinds: Float[Tensor, "batch kind"], words: NextLogits, *, temperature: float
    ) -> NextLogits:
        """Logits of tokens whose draw at this temperature is a draw of a kind, then of one of its words.

        The kind is drawn from `kinds`, its word from the logits `words` among the first tokens of that kind;
        at temperature 0 both are the likeliest. Tokens that begin no kind are never drawn. With one first
        token per kind these are the logits of kinds themselves, exactly.
        """
        composed = torch.full_like(words, -torch.inf, dtype=torch.float32)
        for column, ids in enumerate(self.tokens):
            ids = ids.to(words.device)
            word = words[:, ids].float()
            word = word - word.amax(-1, keepdim=True)
            if temperature > 0:
                word = word - temperature * (word / temperature).logsumexp(-1, keepdim=True)
            composed[:, ids] = kinds[:, column, None].to(words.device) + word
        return composed


def with_ends(kinds: Kinds, ends: Sequence[int]) -> Kinds:
    """The same kinds, where every one of these tokens is the end of a text: of kind `rollout.STOP`.

    A task names its kinds from a tokenizer, which knows one end; a model may have several
    (`Host.eos_ids`), and the two of a pair not the same. An end inside a sentence stays of that sentence's
    kind; kinds without `STOP` stay as they are. Ends that were given before are forgotten.
    """
    if isinstance(kinds, KindsWithEnds):
        kinds = kinds.without_ends
    return KindsWithEnds(kinds, ends) if STOP in kinds.names and ends else kinds


@final
class KindsWithEnds(Kinds):
    """Kinds of which one, `rollout.STOP`, is any of several end tokens."""

    def __init__(self, kinds: Kinds, ends: Sequence[int]) -> None:
        self.without_ends, self._ends = kinds, torch.tensor(ends, dtype=torch.long)

    def __repr__(self) -> str:
        return f"KindsWithEnds({self.without_ends!r}, {self._ends.tolist()})"

    @property
    def names(self) -> tuple[str, ...]:
        return self.without_ends.names

    def track(self, batch: int) -> TrackerWithEnds:
        return TrackerWithEnds(self.without_ends.track(batch), self._ends, self.names.index(STOP))


@final
class TrackerWithEnds:
    """A tracker that knows every end of a text."""

    def __init__(self, tracker: KindTracker, ends: Int[Tensor, " token"], stop: int) -> None:
        self._tracker, self._ends, self._stop = tracker, ends, stop

    @property
    def boundary(self) -> Bool[Tensor, " batch"]:
        return self._tracker.boundary

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        at_end = self.boundary & torch.isin(proposed, self._ends)
        return self._tracker.category(proposed).masked_fill(at_end, self._stop)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._tracker.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)

    def copy(self) -> TrackerWithEnds:
        return TrackerWithEnds(self._tracker.copy(), self._ends, self._stop)

    def put(self, rows: Int[Tensor, " row"], other: TrackerWithEnds, others: Int[Tensor, " row"]) -> None:
        self._tracker.put(rows, other._tracker, others)
