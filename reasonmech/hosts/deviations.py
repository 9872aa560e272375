"""Deviations: what of a model is not as its class and configuration make it, and no tensor of its state."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from transformers import PreTrainedModel

from reasonmech.acting import acting_on, name_function
from reasonmech.digest import hash_tensors

# what passes, loading, placing and training leave on a module, and no pass depends on
_NO_MATTER: Final = (
    "training",
    "gradient_checkpointing",
    "max_seq_len_cached",
    "hf_device_map",
    "name_or_path",
)
_MOVING_ROPE: Final = ("dynamic", "longrope")  # passes write their own inverse frequencies

Plain: TypeAlias = "int | float | str | bool | torch.dtype | tuple[Plain, ...] | None"


@final
@dataclass(frozen=True)
class _Part:
    """What is compared of one module."""

    kind: str
    settings: Mapping[str, Plain]
    buffers: Mapping[str, Tensor]  # those that no state dict holds


@final
class Deviations:
    """What of one model a hash of its tensors and of its configuration does not say, as it stands now.

    Held against a model of the same class and configuration, made without weights: classes of modules
    (another activation, an adapter), their plain settings (an eps, a scaling, a window), buffers that are no
    part of the state, functions that stand in for `forward`, and hooks. A function can't be read, so it is
    named by a number of its own in this process, and is another one in every other.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._made: tuple[str, dict[str, _Part]] = ("", {})

    def listed(self) -> tuple[str, ...]:
        """One line each, in the order of the modules; none for a model that was only loaded."""
        settings = self._model.config.to_json_string(use_diff=False)
        if self._made[0] != settings:
            self._made = (settings, _parts(_twin_without_weights(self._model)))
        return tuple(_compare(self._made[1], self._model))


def _twin_without_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same class and configuration; buffers that are no part of its state are computed."""
    with torch.device("meta"):
        twin: Any = type(model)(copy.deepcopy(model.config))
    for module in twin.modules():
        names = [name for name in module._buffers if name in module._non_persistent_buffers_set]
        for name in names:
            if module._buffers[name] is not None:
                module._buffers[name] = torch.zeros_like(module._buffers[name], device="cpu")
        if names:
            twin._init_weights(module)
    return twin


def _parts(model: nn.Module) -> dict[str, _Part]:
    return {name: _part(module) for name, module in model.named_modules()}


def _part(module: nn.Module) -> _Part:
    kind = type(module)
    settings = {
        name: value
        for name, value in vars(module).items()
        if name not in _NO_MATTER and not name.startswith("_") and _is_plain(value)
    }
    rope = str(vars(module).get("rope_type"))  # one, or by kind of layer
    moving = any(kind in rope for kind in _MOVING_ROPE)
    buffers = {
        name: buffer
        for name, buffer in module._buffers.items()
        if buffer is not None and name in module._non_persistent_buffers_set and not moving
    }
    return _Part(f"{kind.__module__}.{kind.__qualname__}", settings, buffers)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str | bool | torch.dtype)


def _compare(made: Mapping[str, _Part], model: nn.Module) -> Iterator[str]:
    here = dict(model.named_modules())
    for name, module in here.items():
        part, place = _part(module), name or "the model"
        other = made.get(name)
        if other is None:
            yield f"module {place} of class {part.kind}, {_shown(part.settings)}"
        else:
            yield from _differing(place, part, other)
        yield from acting_on(place, module)
    yield from (f"no module {name}" for name in made if name not in here)
    for hooks in (modules._global_forward_pre_hooks, modules._global_forward_hooks):
        yield from (f"forward hook {name_function(hook)} on every module" for hook in hooks.values())


def _differing(place: str, part: _Part, made: _Part) -> Iterator[str]:
    if part.kind != made.kind:
        yield f"{place} is of class {part.kind}, {_shown(part.settings)}, instead of {made.kind}"
        return
    for name in sorted({*part.settings, *made.settings}):
        ours, theirs = (_value(one.settings, name) for one in (part, made))
        if ours != theirs:
            yield f"{place}.{name} is {ours}, its configuration makes {theirs}"
    for name in sorted({*part.buffers, *made.buffers}):
        if name not in part.buffers or name not in made.buffers:
            yield f"buffer {place}.{name}"
        elif not _is_cast(part.buffers[name], made.buffers[name]):
            digest = hash_tensors({name: part.buffers[name]})
            yield f"buffer {place}.{name} holds other numbers ({digest[:12]})"


def _value(settings: Mapping[str, Plain], name: str) -> str:
    return repr(settings[name]) if name in settings else "not there"


def _shown(settings: Mapping[str, Plain]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in sorted(settings.items())) or "without settings"


def _is_cast(buffer: Tensor, made: Tensor) -> bool:
    """Whether a buffer holds what the configuration makes, perhaps in another dtype."""
    return buffer.shape == made.shape and torch.equal(buffer.detach().cpu(), made.to(buffer.dtype))
