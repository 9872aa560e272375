"""Passes: uncached forward passes over whole texts, batched and left-padded, under a bound plan or none."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.runtime.memory import halving, undone_on_failure
from reasonmech.shapes import Mask
from reasonmech.step import Step


@final
@dataclass(frozen=True)
class Text:
    """One row of a run.

    Attributes:
        ids: prompt and answer.
        prompt_length: tokens of the prompt.
        name: what an error calls it.
        labels: name -> absolute positions that carry the label.
    """

    ids: tuple[int, ...]
    prompt_length: int
    name: str
    labels: Mapping[str, frozenset[int]] = field(default_factory=dict)


def check_positions(plan: Sequence[Intervention], texts: Sequence[Text]) -> None:
    """Raise DataError when a mask names a position that a whole text does not have."""
    for number, text in enumerate(texts):
        for intervention in plan:
            needed = intervention.where.reach(number)
            if needed > len(text.ids):
                raise DataError(
                    f"{intervention.where} names position {needed - 1}; {text.name} has {len(text.ids)} "
                    "tokens",
                    allowed=f"0 .. {len(text.ids) - 1}",
                    do="positions are absolute, prompt included, padding not; at(per_row=...) gives each "
                    "text its own",
                )


def check_lengths(host: Host, texts: Sequence[Text]) -> None:
    """Raise DataError where a text has more tokens than the model has positions."""
    for text in texts:
        host.check_length(len(text.ids), text.name)


class RowLogits(NamedTuple):
    """Logits of one row, on the model's device."""

    row: int
    logits: Float[Tensor, "pos vocab"]


def run_passes(
    host: Host,
    texts: Sequence[Text],
    *,
    hooks: Hooks | None = None,
    numbers: Sequence[int] | None = None,
    batch_size: int = 64,
    keep: int = 0,
) -> Generator[RowLogits, None, None]:
    """Yield every row's logits; texts of like length share a batch, the order is by length.

    Args:
        numbers: of each text in the whole run that a plan's sources are aligned with. None: these texts are
            all of it.
        keep: compute the logits of a row's last so many tokens only; 0: of all.
        batch_size: texts per pass; halved, with a warning, where memory is short.

    Raises:
        NonFiniteError: NaN or infinite logits; the row is named.
        DataError: a text without tokens, or with more than the model has positions.
    """
    empty = [text.name for text in texts if not text.ids]
    if empty:
        raise DataError(f"{empty[0]} encodes to no token", do="give a text that this tokenizer knows")
    check_lengths(host, texts)  # here already, for the longest run last
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row].ids))
    with hooks or nullcontext():
        for start in range(0, len(by_length), batch_size):
            rows = by_length[start : start + batch_size]
            found, _ = halving(
                rows, lambda some: _one_pass(host, texts, some, hooks, numbers, keep), what="text"
            )
            yield from found


def _one_pass(
    host: Host,
    texts: Sequence[Text],
    rows: Sequence[int],
    hooks: Hooks | None,
    numbers: Sequence[int] | None,
    keep: int,
) -> list[RowLogits]:
    in_run = rows if numbers is None else [numbers[row] for row in rows]
    step = step_of(host, [texts[row] for row in rows], in_run)
    with undone_on_failure(None if hooks is None else hooks.recorder):
        if hooks is not None:
            hooks.begin(step)
        logits = full_logits(host, step, keep=keep)
    found = [RowLogits(row, line[-len(texts[row].ids) :]) for row, line in zip(rows, logits, strict=True)]
    for row, own in found:
        if not bool(torch.isfinite(own).all()):
            raise NonFiniteError(
                f"NaN or infinite logits in {texts[row].name}",
                do="check the model's weights and dtype, and the size of the plan's amounts",
            )
    return found


def full_logits(host: Host, step: Step, *, keep: int = 0) -> Float[Tensor, "batch pos vocab"]:
    """One uncached pass of the model over a whole step, under its hooks; the last `keep` logits (0: all)."""
    attention = step.mask.long().to(host.device)
    return host.model(
        input_ids=step.ids.to(host.device),
        attention_mask=attention,
        position_ids=step.positions.clamp_min(0).to(host.device),
        use_cache=False,
        logits_to_keep=keep,
    ).logits


def step_of(host: Host, texts: Sequence[Text], numbers: Sequence[int]) -> Step:
    """The step of one uncached pass over texts, left-padded to the longest; `numbers` are theirs in the run.

    Raises:
        DataError: a text has more tokens than the model has positions.
    """
    check_lengths(host, texts)
    width = max(len(text.ids) for text in texts)
    pads = [width - len(text.ids) for text in texts]
    names = sorted({name for text in texts for name in text.labels})
    return Step(
        ids=torch.tensor(
            [[host.pad_id] * pad + list(text.ids) for pad, text in zip(pads, texts, strict=True)]
        ),
        mask=torch.arange(width) >= torch.tensor(pads)[:, None],
        prompt_length=torch.tensor([text.prompt_length for text in texts]),
        new=width,
        rows=torch.tensor(numbers),
        labels={name: _marks(texts, pads, width, name) for name in names},
    )


def _marks(texts: Sequence[Text], pads: Sequence[int], width: int, name: str) -> Mask:
    marks = torch.zeros(len(texts), width, dtype=torch.bool)
    for row, (pad, text) in enumerate(zip(pads, texts, strict=True)):
        for position in text.labels.get(name, frozenset()):
            marks[row, pad + position] = True
    return marks
