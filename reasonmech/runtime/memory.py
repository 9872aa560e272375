"""Too little memory: a batch is halved, before it is run or when it has failed, and the run says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import torch

from reasonmech.disk import format_bytes
from reasonmech.errors import MemoryShortError
from reasonmech.interventions.recorder import Recorder
from reasonmech.runtime.free_memory import free_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Needs(NamedTuple, Generic[Item]):
    """The memory that items take at least when they are run together.

    Attributes:
        bytes_of: how much.
        device: whose memory.
        do: what to do where one item alone takes more than there is.
    """

    bytes_of: Callable[[Sequence[Item]], int]
    device: torch.device
    do: str


def fitting_part(items: Sequence[Item], needs: Needs[Item], *, what: str) -> Sequence[Item]:
    """As many of the first items as memory is free for, by halves, with a warning where they are fewer.

    Raises:
        MemoryShortError: one alone takes more than is free.
    """
    free = free_memory(needs.device)
    if free is None or (n_bytes := needs.bytes_of(items)) <= free:
        return items
    part = items
    while len(part) > 1 and needs.bytes_of(part) > free:
        part = part[: len(part) // 2]
    check_room(needs.bytes_of(part), needs.device, f"one {what}", do=needs.do)
    warnings.warn(
        f"{len(items)} {what}s at once need {format_bytes(n_bytes)} of memory at least, "
        f"{format_bytes(free)} are free; going on with {len(part)}",
        stacklevel=3,
    )
    return part


def check_room(n_bytes: int, device: torch.device, what: str, *, do: str) -> None:
    """Raise MemoryShortError where `what` needs more memory than is free; what is not known is enough."""
    free = free_memory(device)
    if free is not None and n_bytes > free:
        raise MemoryShortError(
            f"{what} needs {format_bytes(n_bytes)} of memory at least, {format_bytes(free)} are free on "
            f"{device}",
            allowed=f"up to {format_bytes(free)}",
            do=do,
        )


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
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    what: str,
    needs: Needs[Item] | None = None,
) -> tuple[list[Result], int]:
    """`run(items)`, in halves of halves where memory is short; results in order, and the largest batch that
    ran.

    Args:
        needs: what they take, where it is known before: what does not fit is not tried. None: it is tried.

    Raises:
        MemoryError: one item alone does not fit; the device's own error is its cause, or what it needs and
            what is there (MemoryShortError).
    """
    if needs is not None and len(part := fitting_part(items, needs, what=what)) < len(items):
        return _in_parts(part, items[len(part) :], run, what=what, needs=needs)
    try:
        return list(run(items)), len(items)
    except (RuntimeError, MemoryError) as error:
        half, rest = split(items, error, what=what)
    return _in_parts(half, rest, run, what=what, needs=needs)


def _in_parts(
    first: Sequence[Item],
    rest: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    what: str,
    needs: Needs[Item] | None,
) -> tuple[list[Result], int]:
    results, fitted = halving(first, run, what=what, needs=needs)
    while len(rest):
        batch, rest = rest[:fitted], rest[fitted:]
        batch_results, size = halving(batch, run, what=what, needs=needs)
        results += batch_results
        if size < len(batch):  # a last batch that is only short says nothing of the memory
            fitted = size
    return results, fitted
