"""CompiledSteps: decoding steps that torch.compile makes of a model once, and that call a plan from inside.

The graph is that of one token of every row over a cache of fixed size. Where a plan reads or writes, it calls
back into the very hooks that act in an eager pass: what a plan may do, and what a receipt holds, is the same.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, Final, NamedTuple, final

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import DynamicLayer

from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import run_alone
from reasonmech.interventions.bind import Stop
from reasonmech.interventions.hooks import Hooks
from reasonmech.shapes import Mask, NextLogits

BACKEND = "inductor"  # of torch.compile
_GRAIN: Final = 64  # tokens by which caches differ in size: texts of like length share a graph
_SPARE: Final = 4  # times as many rows as there are may be computed rather than compile again

_KEPT: Final = 8  # graphs, the latest, each with its model and its cache

Act = Callable[[int, Tensor], Tensor]


class _Acting(threading.local):
    """What plans do in the passes that this thread is running."""

    def __init__(self) -> None:
        self.acts: list[Act] = []


_acting: Final = _Acting()


@torch.library.custom_op("reasonmech::act", mutates_args=())
def _act(x: Tensor, stop: int) -> Tensor:
    """What the plan of the pass that runs makes of the stream at one of its stops."""
    return _acting.acts[-1](stop, x) if _acting.acts else x.clone()


@_act.register_fake
def _(x: Tensor, stop: int) -> Tensor:
    return torch.empty_like(x)


class Shape(NamedTuple):
    """What a graph was made for."""

    rows: int
    length: int
    stops: tuple[str, ...]


@final
class CompiledStep:
    """One graph: a token of every row, read into a cache of fixed size.

    Attributes:
        taken: whether a batch is using the cache.
        broken: why it runs eagerly; "" where it does not.
    """

    def __init__(self, host: Host, shape: Shape, stops: tuple[Stop, ...]) -> None:
        self.shape, self.model, self.taken = shape, host.model, False
        self._host, self._stops, self._ran = host, stops, False
        self.broken = ""
        self.cache = StaticCache(config=host.model.config, max_cache_len=shape.length)
        model, cache = host.model, self.cache

        def step(ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
            return model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]

        # torch.compile counts recompilations by code object, and gives up after a few: each step has its own
        code = step.__code__.replace(co_name=f"step_{id(self)}")
        alone = FunctionType(code, step.__globals__, closure=step.__closure__)
        self._eager = step
        self._compiled: Callable[..., Tensor] = torch.compile(
            alone, dynamic=False, fullgraph=True, backend=BACKEND
        )
        modules = list(host.model.modules())
        self._hooks_of = [
            held for module in modules for held in (module._forward_hooks, module._forward_pre_hooks)
        ]

    def run(self, act: Act, *batch: Tensor) -> NextLogits:
        """Logits of the next token of every row. Hooks of others are seen: with them it runs eagerly."""
        raised: list[BaseException] = []

        def guarded(stop: int, x: Tensor) -> Tensor:
            try:
                return act(stop, x)
            except BaseException as error:
                raised.append(error)
                raise

        foreign = any(self._hooks_of)
        handles = [
            self._host.hook_point(stop.site).attach(partial(_call, number))
            for number, stop in enumerate(self._stops)
        ]
        _acting.acts.append(guarded)
        try:
            if foreign or self.broken:
                return self._eager(*batch)
            logits, self._ran = self._compiled(*batch), True
            return logits
        except Exception as error:
            if raised:
                raise raised[0] from None
            if foreign or self.broken or self._ran:  # it was no compilation that failed
                raise
            self.broken = _first_line(error)
            warnings.warn(
                f"decoding steps of {self._host.name!r} cannot be compiled, and are run one by one: "
                f"{self.broken}",
                stacklevel=2,
            )
            return self._eager(*batch)
        finally:
            _acting.acts.pop()
            for handle in handles:
                handle.remove()


def _first_line(error: BaseException) -> str:
    """What the compiler ran into, not what torch.compile says of itself."""
    error = getattr(error, "inner_exception", error)
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _call(stop: int, x: Tensor) -> Tensor:
    return torch.ops.reasonmech.act(x, stop)


_steps: Final[list[CompiledStep]] = []  # the latest last
_choosing: Final = threading.Lock()


def _take_step(host: Host, rows: int, length: int, stops: tuple[Stop, ...]) -> CompiledStep:
    """A graph with room for a batch, which is now taken: one that is there, or a new one."""
    wanted = Shape(rows, -(-length // _GRAIN) * _GRAIN, tuple(str(stop.site) for stop in stops))
    with _choosing:
        fitting = [
            step
            for step in _steps
            if step.model is host.model
            and step.shape[1:] == wanted[1:]
            and rows <= step.shape.rows <= _SPARE * rows
            and not step.taken
        ]
        step = min(fitting, key=lambda step: step.shape.rows, default=None)
        if step is None:
            step = CompiledStep(host, wanted, stops)
        else:
            _steps.remove(step)
        step.taken = True
        _steps.append(step)
        del _steps[:-_KEPT]
    return step


@final
class CompiledSteps:
    """A batch whose prompts have been read, and whose new tokens are read by a compiled step.

    Rows that leave are computed on, and nobody sees them.
    """

    def __init__(
        self,
        host: Host,
        hooks: Hooks | None,
        cache: DynamicCache,
        mask: Mask,
        positions: Int[Tensor, "row pos"],
    ) -> None:
        """Takes the keys and values of the prompts over.

        Args:
            mask: [row, width and room], as the rows are padded.
            positions: of the last token of each prompt [row, 1].
        """
        n, room = mask.shape
        self._host, self._hooks = host, hooks
        self._stops = () if hooks is None else tuple(hooks.bound.stops)
        self._step = _take_step(host, n, room, self._stops)
        try:
            self._begin(cache, mask, positions)
        except BaseException:
            self.close()
            raise

    def _begin(self, cache: DynamicCache, mask: Mask, positions: Int[Tensor, "row pos"]) -> None:
        host, rows, (n, room) = self._host, self._step.shape.rows, mask.shape
        filled = [*range(n), *[0] * (rows - n)]  # rows that nobody sees are copies of the first
        self._rows: Int[Tensor, " row"] | None = None if rows == n else torch.arange(n, device=host.device)
        self._ids = torch.zeros(rows, 1, dtype=torch.long, device=host.device)
        self._positions = positions[filled].clone()
        self._mask = torch.ones(rows, self._step.shape.length, dtype=torch.long, device=host.device)
        self._mask[:, :room] = mask[filled].long().to(host.device)
        _fill(self._step.cache, cache, torch.tensor(filled, device=host.device))

    def read(self, ids: Int[Tensor, "row 1"]) -> NextLogits:
        """Logits behind one more token of every row."""
        self._positions += 1
        if self._rows is None:
            self._ids.copy_(ids)
        else:
            self._ids[self._rows] = ids
        logits = run_alone(
            self._host, lambda: self._step.run(self._act, self._ids, self._positions, self._mask)
        )
        return logits if self._rows is None else logits[self._rows]

    def _act(self, stop: int, x: Tensor) -> Tensor:
        assert self._hooks is not None
        shown = x if self._rows is None else x[self._rows]
        edited = self._hooks.apply(self._stops[stop], shown)
        if edited is None:
            return x.clone()
        return edited if self._rows is None else x.index_copy(0, self._rows, edited)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these, in this order (on the model's device)."""
        self._rows = rows if self._rows is None else self._rows[rows]

    def close(self) -> None:
        self._step.taken = False


def can_compile(host: Host, cache: DynamicCache, *, two_pass: bool) -> bool:
    """Whether a model's steps can be compiled; a warning says why they are not."""
    whole = all(isinstance(layer, DynamicLayer) and not layer.is_sliding for layer in cache.layers)
    if whole and not two_pass:
        return True
    why = (
        "a gate of the plan weighs what a clean pass says"
        if whole
        else "it has layers that forget (sliding windows), whose caches are of another kind"
    )
    warnings.warn(f"decoding steps of {host.name!r} are not compiled: {why}", stacklevel=2)
    return False


def _fill(static: StaticCache, cache: DynamicCache, rows: Int[Tensor, " row"]) -> None:
    """Put keys and values at the front of a cache of fixed size, row by row."""
    for fixed, grown in zip(static.layers, cache.layers, strict=True):
        layer: Any = fixed
        assert isinstance(grown, DynamicLayer) and grown.keys is not None and grown.values is not None
        keys, values = grown.keys[rows], grown.values[rows]
        if not layer.is_initialized:
            layer.lazy_initialization(keys, values)
        n = keys.shape[-2]
        layer.keys[:, :, :n], layer.values[:, :, :n] = keys, values
        layer.cumulative_length.fill_(n)
