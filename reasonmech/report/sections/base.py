"""What a section is made by, and where the report finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from reasonmech.experiments import Run
from reasonmech.registry import Registry
from reasonmech.report.html import Section

SectionBuilder: TypeAlias = Callable[[Run], Section | None]

sections: Registry[SectionBuilder] = Registry("section")
