"""like_lengths: texts in the order of their lengths, in batches of which little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

ENOUGH: Final = 4096  # padded places of a batch that are never too many


def like_lengths(
    lengths: Sequence[int], batch_size: int, *, longest_first: bool = False
) -> Iterator[list[int]]:
    """Numbers of texts in batches of at most `batch_size`, the shortest (or the longest) texts first.

    A batch ends before its padding would outweigh its tokens (and take more than 4,096 places): beside one
    text of 2,000 tokens, ten short ones would cost 20,000.
    """
    sign = -1 if longest_first else 1
    batch: list[int] = []
    tokens = longest = 0  # of the batch
    for number in sorted(range(len(lengths)), key=lambda i: sign * lengths[i]):
        padding = max(longest, lengths[number]) * (len(batch) + 1) - tokens - lengths[number]
        if len(batch) == batch_size or padding > max(ENOUGH, tokens + lengths[number]):
            yield batch
            batch, tokens, longest = [], 0, 0
        batch.append(number)
        tokens, longest = tokens + lengths[number], max(longest, lengths[number])
    if batch:
        yield batch
