"""Texts that are written to be read at one place: a text in six versions, and examples with their answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.falsify.effects import CueCells, Versions
from reasonmech.locate.falsify.finding import read_features
from reasonmech.locate.rows.checks import check_coder
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.hosts import Host

Ids = tuple[int, ...]


class CrossedText(NamedTuple):
    """One text from which six are made: {neutral, behaviour} x {nothing, cue, placebo inserted at the slot}.

    Attributes:
        problem: the unit of inference; texts of one problem are averaged.
        neutral, behaviour: tokens before the slot, in either context; alike in length, so that the slot has
            one position.
        after: tokens from the slot on where nothing is inserted.
        cue, placebo: what is inserted at the slot; alike in length.
    """

    problem: str
    neutral: Ids
    behaviour: Ids
    after: Ids
    cue: Ids
    placebo: Ids


class Example(NamedTuple):
    """A text in which the behaviour's context is there or is not, whatever the words say.

    Attributes:
        problem: the unit of inference.
        ids: its tokens.
        start, stop: half-open absolute positions that are read; the largest activation there counts.
        positive: whether the behaviour's context holds there.
        why: what is adversarial about it ("the word in a story").
    """

    problem: str
    ids: Ids
    start: int
    stop: int
    positive: bool
    why: str


class Generator(Protocol):
    """Writes examples that try to part a feature from its behaviour: a grammar, or a language model."""

    def examples(self, n: int, *, seed: int) -> Sequence[Example]:
        """n examples, positive and negative; the same for the same seed."""
        ...


@checked
def crossed(
    encode: Encode, *, problem: str, contexts: tuple[str, str], after: str, cue: str, placebo: str
) -> CrossedText:
    """A text in six versions from strings.

    The tokens of a piece are those that it has where it stands, behind each context and each insertion, so
    that what a tokenizer puts in front of any text (a BOS, a blank) stays in front of the contexts only. They
    must be the same in all versions: prefixes are token for token the same.

    Args:
        encode: string to ids, such as `host.encode`.
        contexts: text before the slot, neutral and with the behaviour's context.
        after, cue, placebo: pieces as they are written, a blank in front of them included. Where blanks are
            no part of tokens, they may be left out.

    Raises:
        DataError: a piece has other tokens behind one text than behind another, or shares a token with it.
    """
    blank = "" if list(encode(contexts[0])) != list(encode(contexts[0] + " ")) else " "
    word, other = (_piece(encode, contexts, inserted, blank=blank) for inserted in (cue, placebo))
    before = [context + blank + inserted for context in contexts for inserted in (cue, placebo)]
    later = _piece(encode, (*contexts, *before), after, blank=blank)
    neutral, behaviour = (tuple(encode(text)) for text in contexts)
    return CrossedText(problem, neutral, behaviour, later, word, other)


def _piece(encode: Encode, contexts: Sequence[str], piece: str, *, blank: str) -> Ids:
    """The tokens of a piece behind each of several texts. Raises DataError where they are not the same."""
    runs: dict[Ids, str] = {}
    for context in contexts:
        ids, whole = tuple(encode(context)), tuple(encode(context + blank + piece))
        if whole[: len(ids)] != ids:
            raise DataError(
                f"{piece!r} shares a token with the text before it, {context[-30:]!r}",
                allowed="pieces that begin where a token does",
                do="let the piece begin with a blank, and the text before it end without one",
            )
        runs.setdefault(whole[len(ids) :], context)
    if len(runs) > 1:
        first, second, *_ = runs.values()
        raise DataError(
            f"{piece!r} has other tokens behind {first[-30:]!r} than behind {second[-30:]!r}: "
            f"{list(runs)[:2]}",
            allowed="pieces whose tokens are the same in all versions",
            do="let the piece begin with a blank, or choose another one",
        )
    return next(iter(runs))


class Encode(Protocol):
    """Text to token ids."""

    def __call__(self, text: str, /) -> Sequence[int]: ...


@checked
def read_cells(
    host: Host, texts: Sequence[CrossedText], coder: SparseCoder, *, features: Sequence[int], before: int = 1
) -> CueCells:
    """Activations of features in all six versions: the largest of the slot and of the `before` tokens ahead.

    The slot spans what is inserted, and as many tokens where nothing is. A feature that fires at the end of a
    sentence, because of what it found there, is seen by the tokens ahead of the slot; one that fires on the
    cue by the slot.

    Raises:
        DataError: no texts; an empty piece; a cue and a placebo, or the text after, that differ in length.
        MismatchError: the coder belongs to another model.
    """
    if not texts:
        raise DataError("no texts to read", do="write at least 20, of different problems")
    for text in texts:
        if (
            not len(text.cue) == len(text.placebo) <= len(text.after)
            or not text.cue
            or before > len(text.neutral)
        ):
            raise DataError(
                f"text {text.problem!r}: cue of {len(text.cue)} tokens, placebo of {len(text.placebo)}, "
                f"text after of {len(text.after)}",
                allowed="cue and placebo of one length, at least 1, and a text after the slot of no fewer",
                do="choose a placebo that has as many tokens as the cue, and end every text with a whole "
                "sentence",
            )
    examples = []
    for text in texts:
        for prefix in (text.neutral, text.behaviour):
            for inserted in ((), text.cue, text.placebo):
                start, stop = len(prefix) - before, len(prefix) + len(text.cue)
                examples.append(
                    Example(text.problem, (*prefix, *inserted, *text.after), start, stop, False, "")
                )
    values = read_examples(host, examples, coder, features=features).reshape(len(texts), 2, 3, len(features))
    neutral, behaviour = (Versions(*(values[:, context, i] for i in range(3))) for context in (0, 1))
    slots = tuple(
        np.array([len(prefix) for prefix in side]) for side in zip(*(t[1:3] for t in texts), strict=True)
    )
    return CueCells(neutral, behaviour, (slots[0], slots[1]), np.array([text.problem for text in texts]))


@checked
def read_examples(
    host: Host, examples: Sequence[Example], coder: SparseCoder, *, features: Sequence[int]
) -> Float[np.ndarray, "example feature"]:
    """The largest activation of each feature in the window of each example, activation units.

    Raises:
        DataError: a window that is empty or outside its text. MismatchError: the coder belongs to another
            model.
    """
    check_coder(coder, host.model_identity())
    for example in examples:
        if not 0 <= example.start < example.stop <= len(example.ids):
            raise DataError(
                f"window [{example.start}, {example.stop}) of a text of {len(example.ids)} tokens",
                allowed="a window of at least one token inside the text",
            )
    acts = capture(host, [_as_rollout(example) for example in examples], [coder.site], progress=False)
    lengths = np.array([len(example.ids) for example in examples])
    sizes = np.array([example.stop - example.start for example in examples])
    starts = np.cumsum(sizes) - sizes  # of each window among the tokens that are read
    begin = np.cumsum(lengths) - lengths + np.array([example.start for example in examples])  # in the capture
    tokens = np.repeat(begin - starts, sizes) + np.arange(sizes.sum())
    activations = read_features(coder, acts.take(coder.site, torch.from_numpy(tokens)), features)
    return np.maximum.reduceat(activations, starts, axis=0)


def _as_rollout(example: Example) -> Rollout:
    return Rollout(Problem(example.problem, "", ""), 0, example.ids, (), (), (), "eos", "")
