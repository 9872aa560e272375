"""A class that somebody else registers is written in a plan file: its settings are its fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import ConfigError
from reasonmech.interventions import Axis, Edit, Gate, Where, axes, edits, gates, load_plan, masks
from reasonmech.interventions.reading import Entry
from reasonmech.runtime import forward
from reasonmech.site import Site
from reasonmech.testing import tiny_host

HOST = tiny_host()


@dataclass(frozen=True, eq=False)
class Flip(Edit):
    kind = "flip"

    def new(self, coords, axis, place):
        return -coords

    def check(self, axis):
        """Any axis will do."""

    def to_json(self):
        return {"kind": self.kind}


@dataclass(frozen=True)
class FirstCoordinates(Axis):
    site: str
    n: int

    @property
    def at(self):
        return Site.parse(self.site)

    @property
    def n_coords(self):
        return self.n

    def read(self, x):
        return x[:, : self.n]

    def write(self, delta):
        return torch.nn.functional.pad(delta, (0, HOST.d_model - self.n))

    def check(self, host):
        host.check_site(self.site)

    def to(self, device):
        return self

    def to_json(self):
        return {"kind": "first_coordinates", "site": self.site, "n": self.n}


@dataclass(frozen=True)
class Every(Where):
    n: int
    kind = "every"

    def mask(self, step):
        return step.positions % self.n == 0


@dataclass(frozen=True)
class AnyOf(Where):
    members: tuple[Where, ...]
    kind = "any_of"

    def mask(self, step):
        return torch.stack([one.mask(step) for one in self.members]).any(0)


@dataclass(frozen=True, eq=False)
class Between(Gate):
    axis: Axis
    lo: float
    hi: float
    kind = "between"

    @property
    def reads(self):
        return self.axis

    def weight(self, coords):
        return ((coords.amax(-1) > self.lo) & (coords.amax(-1) < self.hi)).to(coords.dtype)

    def on(self, axis):
        return replace(self, axis=axis)

    def to_json(self):
        return {"kind": self.kind, "axis": self.axis.to_json(), "lo": self.lo, "hi": self.hi}


@dataclass(frozen=True, eq=False)
class Towards(Flip):
    """An edit with a tensor, which a file spells in its own way."""

    target: Float[Tensor, " coord"]
    share: float = 0.5

    def new(self, coords, axis, place):
        return coords + self.share * (self.target.to(coords) - coords)

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        entry.only(("point", "percent"))
        return cls(entry.read("point", Tensor), entry.read("percent", float, 50.0) / 100)


class Wordy(Edit):
    """Not a dataclass at all."""

    new = check = to_json = Flip.new  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Holder(Flip):
    holds: Iterator[int]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes, registered for one test as a plug-in would."""
    for registry in (axes, edits, gates, masks):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    for registry, kind, cls in (
        (edits, "flip", Flip),
        (edits, "towards", Towards),
        (edits, "wordy", Wordy),
        (edits, "holder", Holder),
        (axes, "first_coordinates", FirstCoordinates),
        (masks, "every", Every),
        (masks, "any_of", AnyOf),
        (gates, "between", Between),
    ):
        registry.register(kind)(cls)


AXIS = {"kind": "first_coordinates", "site": "resid_post.1", "n": 4}


def test_an_edit_an_axis_a_mask_and_a_gate_of_a_plug_in_run_from_a_mapping() -> None:
    gate = {"kind": "between", "axis": AXIS, "lo": -1e6, "hi": 1e6}
    entry = {
        "edit": "flip",
        "axis": AXIS,
        "where": {"and": [{"kind": "every", "n": 2}, "prompt"]},
        "when": gate,
    }
    [intervention] = load_plan({"plan": [entry]}, HOST)
    assert isinstance(intervention.edit, Flip) and intervention.axis == FirstCoordinates("resid_post.1", 4)
    assert intervention.when.to_json() == gate | {"axis": AXIS}
    line = forward(HOST, ["w1 w2 w3"], [intervention]).receipt.lines[0]
    assert line.n_masked == 2 and line.max_relative is not None and line.max_relative > 0


def test_a_mask_may_hold_several_masks() -> None:
    where = {"kind": "any_of", "members": [{"kind": "every", "n": 3}, {"not": "generated"}]}
    [intervention] = load_plan({"plan": [{"edit": "flip", "axis": AXIS, "where": where}]}, HOST)
    assert isinstance(intervention.where, AnyOf) and intervention.where.members[0] == Every(3)
    where["members"][1] = {"not": "genrated"}
    with pytest.raises(ConfigError, match=r"where\.members\[1\]\.not: unknown mask 'genrated'"):
        load_plan({"plan": [{"edit": "flip", "axis": AXIS, "where": where}]}, HOST)


def test_a_class_may_say_itself_how_a_file_writes_it() -> None:
    edit = {"kind": "towards", "point": [1.0, 2.0, 3.0, 4.0], "percent": 25}
    [intervention] = load_plan({"plan": [{"edit": edit, "axis": AXIS}]}, HOST)
    assert isinstance(intervention.edit, Towards) and intervention.edit.share == 0.25
    with pytest.raises(ConfigError, match=r"(?s)unknown setting of edit 'towards' 'target'.*point"):
        load_plan({"plan": [{"edit": edit | {"target": [1.0]}, "axis": AXIS}]}, HOST)


@pytest.mark.parametrize(
    ("edit", "happened"),
    [({"kind": "wordy"}, "is no dataclass"), ({"kind": "holder", "holds": 3}, "cannot be written in a plan")],
)
def test_a_class_that_a_file_cannot_write_says_what_it_lacks(edit: object, happened: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){happened}.*from_entry"):
        load_plan({"plan": [{"edit": edit, "axis": AXIS}]}, HOST)
