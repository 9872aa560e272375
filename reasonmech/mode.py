"""Mode: what is set around a model, and changes its passes: training mode, autocast, inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from reasonmech.errors import BindError


def check_mode(model: nn.Module, name: str) -> None:
    """Raise BindError where a pass of a model would not be what its weights and settings make it.

    Nothing is switched off and on again: the caller's modes stay as they are. Costs a tenth of a microsecond
    for each module.
    """
    if _trains(model):
        which = next(path or "the model itself" for path, part in model.named_modules() if part.training)
        raise BindError(
            f"{name!r} is in training mode (first: {which}), where dropout and noise act",
            allowed="a model in eval mode, all of its modules",
            do="call eval() before, host.model.eval() or coder.sae.eval(), and train() again afterwards",
        )
    check_precision(name)


def check_precision(name: str) -> None:
    """Raise BindError inside torch.autocast, which computes parts of a pass in another dtype."""
    device = next((kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.is_autocast_enabled(kind)), None)
    if device is not None:
        raise BindError(
            f"{name!r} was called inside torch.autocast({device!r}), which computes parts of a pass in "
            f"{torch.get_autocast_dtype(device)}",
            allowed="the model's own dtype, which is that of its weights",
            do="call outside of autocast; for another dtype, load it so: rm.load_host(source, dtype=dtype)",
        )


@contextmanager
def no_inference_mode() -> Iterator[None]:
    """Inside, torch.inference_mode of the caller is off, and gradients with it: its kernels round otherwise,
    and a model may keep tensors that were made in it."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            yield
    else:
        yield


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Inside, gradients are had, under the caller's torch.no_grad too.

    Raises:
        BindError: inside torch.autocast, or torch.inference_mode, whose tensors have no gradients.
    """
    check_precision(name)
    if torch.is_inference_mode_enabled():
        raise BindError(
            f"{name!r} was called inside torch.inference_mode, where there are no gradients",
            allowed="calls outside of it, inside torch.no_grad too",
            do="call it outside; make the host, coders and metrics outside, too",
        )
    with torch.enable_grad():
        yield


def _trains(model: nn.Module) -> bool:
    parts: list[nn.Module | None] = [model]
    while parts:
        part = parts.pop()
        if part is not None:
            if part.training:
                return True
            parts.extend(part._modules.values())
    return False
