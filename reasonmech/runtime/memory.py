"""Out of memory: the batch is halved and the run goes on, and says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from reasonmech.interventions.recorder import Recorder

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the CPU allocator, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


@contextmanager
def undone_on_failure(recorder: Recorder | None) -> Iterator[None]:
    """Take back what a pass counted when it fails: in halves it is done, and counted, again."""
    snapshot = None if recorder is None else recorder.snapshot()
    try:
        yield
    except BaseException:
        if recorder is not None:
            recorder.restore(snapshot)
        raise


def split(items: Sequence[Item], error: BaseException, *, what: str) -> tuple[Sequence[Item], Sequence[Item]]:
    """Two halves to go on with after an error, with a warning.

    Raises:
        MemoryError: one item alone does not fit. Any other error than a short memory is raised as it is.
    """
    if not is_out_of_memory(error):
        raise error
    if len(items) == 1:
        raise MemoryError(f"one {what} alone does not fit into memory: {error}") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(items) // 2
    warnings.warn(f"out of memory with {len(items)} {what}s at once; going on with {half}", stacklevel=3)
    return items[:half], items[half:]


def halving(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Sequence[Result]], *, what: str
) -> tuple[list[Result], int]:
    """`run(items)`, in halves of halves where memory is short; results in order, and the largest batch that
    ran.

    Raises:
        MemoryError: one item alone does not fit; the device's own error is its cause.
    """
    try:
        return list(run(items)), len(items)
    except (RuntimeError, MemoryError) as error:
        half, rest = split(items, error, what=what)
    results, fitted = halving(half, run, what=what)
    while len(rest):
        batch, rest = rest[:fitted], rest[fitted:]
        batch_results, size = halving(batch, run, what=what)
        results += batch_results
        if size < len(batch):  # a last batch that is only short says nothing of the memory
            fitted = size
    return results, fitted
