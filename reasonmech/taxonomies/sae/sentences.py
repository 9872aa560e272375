"""Sentences: where the sentences of rollouts are, what they say, and their mean activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.coders.sinks import no_sinks
from reasonmech.coders.source import ActivationSource
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Labels, Span
from reasonmech.ranges import Seed
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.site_sinks import sinks_of
from reasonmech.site import Site

CHUNK: Final = 2**16  # tokens read at once


class SentenceSource(ActivationSource, Protocol):
    """Activations that can be asked for by rollout and position (runtime's Activations are one)."""

    def rows(self, site: Site | str, labels: Labels) -> Float[Tensor, "label d_model"]: ...


@checked
@final
@dataclass(frozen=True, eq=False)
class Sentences:
    """One row per sentence.

    Attributes:
        rollout: [sentence] index of the rollout.
        start, stop: [sentence] absolute positions of its tokens, half-open, prompt included.
        problem: [sentence] problem id, the unit of splits and intervals.
        text: what each says.
    """

    rollout: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    problem: np.ndarray
    text: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.text)

    @classmethod
    @checked
    def of(
        cls,
        rollouts: Sequence[Rollout],
        spans: Sequence[Sequence[Span | tuple[int, int]]],
        *,
        texts: Sequence[Sequence[str]],
    ) -> Sentences:
        """Sentences from spans that you have (of `rm.text.cut`: `.tokens` and `.text` of each).

        Args:
            spans: per rollout, half-open token offsets from its first generated token.
            texts: per rollout, what each of its sentences says.

        Raises:
            DataError: lengths differ, a span is empty or lies outside its rollout, or there is no sentence.
        """
        if not len(rollouts) == len(spans) == len(texts):
            raise DataError(
                f"{len(rollouts)} rollouts, {len(spans)} lists of spans, {len(texts)} lists of texts"
            )
        rows: list[tuple[int, int, int, str, str]] = []
        for r, (rollout, of_spans, of_texts) in enumerate(zip(rollouts, spans, texts, strict=True)):
            if len(of_spans) != len(of_texts):
                raise DataError(
                    f"rollout {r} has {len(of_spans)} spans and {len(of_texts)} texts",
                    do="give one per sentence",
                )
            first = len(rollout.prompt_ids)
            for (start, stop), text in zip(of_spans, of_texts, strict=True):
                if not 0 <= start < stop <= len(rollout.ids):
                    raise DataError(
                        f"sentence [{start}, {stop}) of rollout {r} lies outside its {len(rollout.ids)} "
                        "tokens",
                        allowed=f"0 <= start < stop <= {len(rollout.ids)}",
                    )
                rows.append((r, first + start, first + stop, rollout.problem.id, text))
        if not rows:
            raise DataError("no sentence in any rollout", do="use more or longer rollouts")
        numbers, begins, ends, problems, sentence_texts = zip(*rows, strict=True)
        return cls(np.array(numbers), np.array(begins), np.array(ends), np.array(problems), sentence_texts)

    @classmethod
    def of_traces(cls, traces: Sequence[Trace]) -> Sentences:
        """The sentences of parsed traces, as their words. Raises DataError where there is none."""
        return cls.of(
            [trace.rollout for trace in traces],
            [[(s.start, s.stop) for s in trace.sentences] for trace in traces],
            texts=[[trace.text_of(s) for s in trace.sentences] for trace in traces],
        )

    @checked
    def split(self, share: float = 0.6, *, seed: Seed = 0) -> Halves:
        """Whole problems into a part to train on and a part that is held out.

        Raises:
            DataError: either side would have no problem.
        """
        problems = np.unique(self.problem)
        n = round(share * len(problems))
        if not 0 < n < len(problems):
            raise DataError(
                f"{share} of {len(problems)} problems leaves one side empty", do="use more problems"
            )
        chosen = np.random.default_rng(seed).permutation(problems)[:n]
        in_train = np.isin(self.problem, chosen)
        return Halves(self.where(in_train), self.where(~in_train))

    def where(self, mask: np.ndarray) -> Sentences:
        """Those sentences that a mask [sentence] names."""
        text = tuple(text for text, named in zip(self.text, mask, strict=True) if named)
        return Sentences(self.rollout[mask], self.start[mask], self.stop[mask], self.problem[mask], text)

    def means(self, acts: SentenceSource, *, site: Site | str) -> Float[Tensor, "sentence d_model"]:
        """Mean activation over the tokens of each sentence, in float32, read in chunks.

        Attention sinks are left out, except where a sentence has no other token.

        Raises:
            DataError: a sentence has tokens that were not captured. UnknownNameError: no such site was.
        """
        lengths = self.stop - self.start
        sinks = sinks_of(acts, site) if isinstance(acts, Activations) else no_sinks(0)
        out: list[Tensor] = []
        pieces = np.split(np.arange(len(self)), np.flatnonzero(np.diff(np.cumsum(lengths) // CHUNK)) + 1)
        for batch in pieces:
            n = lengths[batch]
            owner = np.repeat(np.arange(len(batch)), n)
            position = self.start[batch][owner] + np.arange(n.sum()) - (np.cumsum(n) - n)[owner]
            labels = Labels(
                "sentences",
                "recognises",
                self.rollout[batch][owner],
                position,
                np.ones(len(owner), dtype=bool),
                self.problem[batch][owner],
            )
            rows = acts.rows(site, labels).float()
            of = torch.from_numpy(owner)
            counted = torch.ones(len(of), dtype=torch.bool)
            if sinks.n_sinks:
                counted = ~sinks.mask(rows.norm(dim=-1), torch.from_numpy(position))
                counted |= (torch.bincount(of[counted], minlength=len(batch)) == 0)[of]
            sums = torch.zeros(len(batch), rows.shape[1]).index_add_(0, of[counted], rows[counted])
            out.append(sums / torch.bincount(of[counted], minlength=len(batch))[:, None])
        return torch.cat(out)


class Halves(NamedTuple):
    """Sentences of different problems."""

    train: Sentences
    held_out: Sentences
