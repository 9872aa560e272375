"""Acting: functions that act in a module's passes and are none of its class: hooks, and what stands in for
`forward`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import nn

_HOOKS: Final = {
    "_forward_pre_hooks": "forward pre-hook",
    "_forward_hooks": "forward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_backward_hooks": "backward hook",
}
_FUNCTIONS: Final = ("forward", "__call__")
# these read, or ask for gradients; what somebody adds to a bridge is of transformer_lens.hook_points
_HARMLESS: Final = ("transformers.", "transformer_lens.model_bridge.")


@final
class OurHook:
    """A hook that a call of this library puts in and takes out: what it does is no part of the model."""

    def __init__(self, act: Callable[..., object]) -> None:
        self._act = act

    def __call__(self, *args: object) -> object:
        return self._act(*args)


def acting_on(place: str, module: nn.Module) -> Iterator[str]:
    """Functions that act in a module's passes and are none of its class: stand-ins and hooks."""
    held = vars(module)
    for name in _FUNCTIONS:
        # accelerate puts one there to move tensors between devices
        if name in held and "_hf_hook" not in held:
            yield f"{place}.{name} is {name_function(held[name])}"
    if module._compiled_call_impl is not None:
        yield f"{place} is compiled"
    for attribute, kind in _HOOKS.items():
        for hook in held[attribute].values():
            if not isinstance(hook, OurHook) and not str(hook.__module__).startswith(_HARMLESS):
                yield f"{kind} {name_function(hook)} on {place}"


_process: Final = uuid.uuid4().hex[:16]
_numbers: Final = count()
_numbered: Final[WeakKeyDictionary[Any, int]] = WeakKeyDictionary()


def name_function(function: Any) -> str:
    """What to call a function: its name, and its number in this process."""
    number = _numbered.setdefault(function, next(_numbers))
    return f"{repr(function).partition(' at 0x')[0].removeprefix('<')} ({_process}/{number})"
