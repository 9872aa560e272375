"""Readable: whatever a plan file can write as a mapping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from reasonmech.interventions.canonical import Json
from reasonmech.interventions.reading.spot import Spot


class Readable(ABC):
    """A family of classes of which a plan file names one by its kind."""

    @classmethod
    @abstractmethod
    def from_plan(cls, value: Json, spot: Spot) -> Self:
        """What stands at a spot.

        Raises:
            ConfigError: it cannot be read; file and place are named.
        """
