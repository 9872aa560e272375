"""Part: what an axis, an edit, a mask and a gate have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import Field, fields, is_dataclass
from typing import Any, ClassVar, Final, Self

from torch import Tensor

from reasonmech.interventions.canonical import Json
from reasonmech.interventions.reading.entry import Entry
from reasonmech.interventions.reading.readable import Readable
from reasonmech.interventions.reading.spot import Spot
from reasonmech.registry import Registry

BRIEF: Final = 100  # characters of a setting in a repr


class PlanPart(Readable):
    """A part of an intervention: registered under its kind, written as JSON, and read from a plan file.

    Attributes:
        registry: of its family.
    """

    registry: ClassVar[Registry[Any]]

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """Canonical form, tensors by content."""

    @classmethod
    def from_plan(cls, value: Json, spot: Spot) -> Self:
        """The part of this family whose kind stands at a spot, plug-ins' kinds too.

        Raises:
            ConfigError: an unknown kind or setting, or values that the class refuses.
        """
        kind, entry = Entry.at(spot, value, cls.registry)
        with spot.located():
            part = cls.registry.get(kind).from_entry(entry)
        if not isinstance(part, cls):
            raise spot.error(f"{part!r} where a {cls.__name__} is meant")
        return part

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """This very class from its settings in a plan file: those of its fields, typed as these are.

        A class overrides it where a file says something else than the fields hold.
        """
        return cls(**entry.read_fields(cls))

    def __repr__(self) -> str:
        shown = (f"{one.name}={_brief(self.__dict__[one.name])}" for one in _set_fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"


def _set_fields(part: PlanPart) -> list[Field[Any]]:
    """Fields that are not what they are by default."""
    if not is_dataclass(part):
        return []
    return [one for one in fields(part) if part.__dict__[one.name] is not one.default]


def setting_text(value: object) -> str:
    """A setting as code; of a tensor its shape, never its numbers."""
    return f"Tensor{list(value.shape)}" if isinstance(value, Tensor) else repr(value)


def _brief(value: object) -> str:
    """A setting in one line, cut where it is long."""
    text = setting_text(value)
    return text if len(text) <= BRIEF and "\n" not in text else f"{text[:BRIEF].splitlines()[0]}..."
