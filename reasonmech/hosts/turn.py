"""Turn: one pass of a model at a time, and no pass inside another one.

Hooks sit in a model that all threads share. So a pass waits for its turn, and hooks act in the passes of the
thread that installed them only: calls in several threads on one model take turns, pass by pass, and each gets
what it would get alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from reasonmech.errors import ReentryError
from reasonmech.hosts.host import Host
from reasonmech.mode import check_mode, no_inference_mode

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(eq=False)
class _Turn:
    """Who may run a model: the lock is held for one pass; `running` is read by the thread that holds it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    running: bool = False


# by the first block, where the hooks are: two hosts may share a model
_turns: Final[WeakKeyDictionary[nn.Module, _Turn]] = WeakKeyDictionary()
_making: Final = threading.Lock()


def run_alone(host: Host, run: Callable[[], T]) -> T:
    """`run()`, one pass of a host's model, while no other thread runs that model; it waits for its turn.

    Raises:
        ReentryError: this thread is inside a pass of that model already: an edit, gate, coder or readout of
            it runs the model, whose hooks would act on both.
        BindError: some module is in training mode, or autocast is on: the pass would not be the model's.
    """
    turn = _turn_of(host)
    with turn.lock:
        if turn.running:
            raise reentry(host.name)
        check_mode(host.model, host.name)
        turn.running = True
        try:
            with no_inference_mode():
                return run()
        finally:
            turn.running = False


def reentry(name: str) -> ReentryError:
    """What to say of a pass that was begun inside another one of the same model."""
    return ReentryError(
        f"a pass of {name!r} was begun inside another one: an edit, axis, gate or coder of the running plan "
        "runs the model itself, under the plan's own hooks",
        allowed="one pass of a model at a time; other models may be run from inside it",
        do="compute what it needs before the call, and keep it in the edit",
    )


def of_this_thread(edit: Callable[P, T]) -> Callable[P, T | None]:
    """A hook that acts in passes of the thread that makes it, and leaves those of others alone."""
    owner = threading.get_ident()

    @wraps(edit)
    def act(*args: P.args, **kwargs: P.kwargs) -> T | None:
        return edit(*args, **kwargs) if threading.get_ident() == owner else None

    return act


def _turn_of(host: Host) -> _Turn:
    with _making:
        return _turns.setdefault(host.layers[0], _Turn())
