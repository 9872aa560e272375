"""A gate, mask or edit of somebody else's that breaks its contract is an error, under `python -O` too."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import reasonmech as rm
from reasonmech.errors import BindError, MismatchError, ReasonmechError
from reasonmech.interventions import Gate
from reasonmech.interventions.masks import Where
from reasonmech.interventions.masks.precomputed import PrecomputedMask
from reasonmech.step import Step
from reasonmech.testing import tiny_host

HOST = tiny_host()
V = rm.Direction.along(torch.ones(HOST.d_model), "resid_post.1")
TEXTS = ["w1 w2 w3", "w4 w5"]


@dataclass(frozen=True, eq=False)
class Weighs(Gate):
    weights: float
    axis: Any = None
    extra: int = 0
    kind = "weighs"

    @property
    def reads(self) -> Any:
        return self.axis

    def weight(self, coords: Tensor) -> Tensor:
        return coords.new_full((len(coords) + self.extra,), self.weights)

    def on(self, axis: Any) -> Weighs:
        return Weighs(self.weights, axis, self.extra)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


@dataclass(frozen=True, eq=False)
class Marks(Where):
    how: Any
    kind = "marks"

    def mask(self, step: Step) -> Tensor:
        return self.how(step.mask)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


def runs(plan: list[rm.Intervention]) -> dict[str, Any]:
    trials = rm.sweeps.Configuration("one", plan)
    metric = rm.logit_diff(HOST, good="w1", bad="w2")
    return {
        "forward": lambda: rm.forward(HOST, TEXTS, plan),
        "without a receipt": lambda: rm.forward(HOST, TEXTS, plan, receipt="none"),
        "generate": lambda: rm.generate(
            HOST, TEXTS, plan, decode=rm.Decode(max_new_tokens=3), progress=False, receipt="none"
        ),
        "sweep": lambda: rm.sweep(HOST, TEXTS, [trials], metric=metric, progress=False),
    }


RUNS = ("forward", "without a receipt", "generate", "sweep")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("axis", [None, V])
@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), float("inf")])
def test_weights_outside_of_0_and_1_are_refused(run: str, axis: Any, weight: float) -> None:
    with pytest.raises(ReasonmechError, match=r"outside of \[0, 1\]|NaN or infinite"):
        runs([rm.steer(V, 2.0, when=Weighs(weight, axis))])[run]()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_weights_from_0_to_1_are_taken(run: str, weight: float) -> None:
    runs([rm.steer(V, 2.0, when=Weighs(weight, V))])[run]()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("axis", [None, V])
def test_a_weight_too_many_is_refused(run: str, axis: Any) -> None:
    with pytest.raises(BindError, match="one weight per token"):
        runs([rm.steer(V, 2.0, when=Weighs(1.0, axis, extra=1))])[run]()


@pytest.mark.parametrize("run", RUNS[:3])
@pytest.mark.parametrize(
    "how",
    [lambda m: m[:, 1:], lambda m: m[0], lambda m: m.float(), lambda m: m.long()],
    ids=["a column short", "one row", "floats", "integers"],
)
def test_marks_of_another_shape_or_type_are_refused(run: str, how: Any) -> None:
    with pytest.raises(BindError, match="one truth value per token"):
        runs([rm.steer(V, 2.0, where=Marks(how))])[run]()


def test_hooks_of_another_pass_are_refused() -> None:
    ids = torch.tensor([HOST.encode("w1 w2 w3")])
    hooks = rm.as_hooks([rm.steer(V, 2.0)], HOST, Step.of(ids))
    with pytest.raises(MismatchError, match="hooks made for"):
        HOST.lens.run_with_hooks(ids[:, :2], fwd_hooks=hooks)
    with pytest.raises(MismatchError):
        PrecomputedMask(torch.ones(1, 2, dtype=torch.bool)).mask(Step.of(ids))


def test_what_is_refused_is_refused_without_assertions() -> None:
    """`python -O` takes every `assert` out, of this library's own modules here: what is installed beside it
    is read as it was compiled at its installation, which saves compiling all of torch without assertions."""
    script = textwrap.dedent(
        """
        from importlib import _bootstrap_external as paths
        where = paths.cache_from_source

        def compiled(path, *rest, **optimization):
            theirs = "site-packages" in path and "reasonmech" not in path.rsplit("site-packages", 1)[1]
            return where(path, optimization="") if theirs else where(path, *rest, **optimization)

        paths.cache_from_source = compiled
        import torch, reasonmech as rm
        from reasonmech.testing import tiny_host
        from reasonmech.errors import BindError
        assert False, "this is not python -O"
        print(rm.__spec__.cached)
        host = tiny_host()
        v = rm.Direction.along(torch.ones(host.d_model), "resid_post.1")
        try:
            rm.forward(host, ["w1 w2"], [rm.patch(v, torch.full((host.d_model,), float("nan")))])
        except BindError:
            print("refused")
        """
    )
    # -B: nothing that is compiled without assertions is kept in place of what has them
    python = [sys.executable, "-B", "-O"]
    result = subprocess.run([*python, "-c", script], capture_output=True, text=True, check=True)
    compiled, refused = result.stdout.splitlines()
    assert compiled.endswith(".opt-1.pyc"), "this library's modules have assertions"
    assert refused == "refused", result.stdout + result.stderr
