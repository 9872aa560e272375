"""Tokens as text, and a trace as a tidy frame of tokens: what views and reports draw."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import regex

from reasonmech.errors import DataError
from reasonmech.hosts import characters
from reasonmech.rollout import SLIP, Trace

if TYPE_CHECKING:
    from reasonmech.hosts import Host

# what views draw for a token that adds nothing to the text: the rest of a character that an earlier one began
CONTINUED: Final = "⋯"
_CHARACTER: Final = regex.compile(r"\r|\n|\X")
TOKEN_COLUMNS = ("trace", "offset", "text", "environment", "steered", "onset", "slip")


def token_pieces(host: Host, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text, blanks in front included: joined, they are the text as it is decoded.

    A character that is spread over several tokens is the first one's, and so is what is drawn as one
    (`whole_characters`); those that hold the rest add nothing.
    """
    return whole_characters(characters.token_pieces(host.tokenizer, ids))


def whole_characters(pieces: Sequence[str]) -> list[str]:
    """Pieces of a text, what readers see as one character moved into the piece that begins it: a family of
    emoji, a flag, a hand with its colour, a letter with its marks (extended grapheme clusters of Unicode's
    UAX 29; a line break of two controls stays parted)."""
    text = "".join(pieces)
    if text.isascii():
        return [*pieces]
    ends = [0, *(cluster.end() for cluster in _CHARACTER.finditer(text))]
    stops = [ends[bisect_left(ends, stop)] for stop in accumulate(map(len, pieces))]
    return [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def token_frame(name: str, trace: Trace, host: Host, activations: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row per generated token of a trace, with what marks it and one column per feature.

    Args:
        name: heads the trace in a view.
        activations: column name -> [generated token] activation of the token itself, in activation units.

    Returns:
        Columns trace, offset, text, environment (the task wrote it), steered, onset (kind of the sentence
        that begins here, "" elsewhere), slip (the environment stated something wrong here), then the
        activations.

    Raises:
        DataError: an activation column of another length than the generated tokens.
    """
    rollout = trace.rollout
    n, prompt = len(rollout.ids), len(rollout.prompt_ids)
    onset, slip = np.full(n, "", dtype=object), np.zeros(n, dtype=bool)
    for sentence in trace.sentences:
        onset[sentence.start] = sentence.kind
    slip[list(trace.marks.get(SLIP, ()))] = True
    frame = pd.DataFrame(
        {
            "trace": name,
            "offset": np.arange(n),
            # what the prompt ends with stays there: the answer shows all that was written in it
            "text": whole_characters(characters.token_pieces(host.tokenizer, rollout.all_ids)[prompt:]),
            "environment": rollout.by_environment,
            "steered": rollout.steered,
            "onset": onset,
            "slip": slip,
        }
    )
    for column, values in activations.items():
        if len(values) != n:
            raise DataError(
                f"{len(values)} activations in {column!r} for {n} generated tokens", do="give one per token"
            )
        frame[column] = values
    return frame
