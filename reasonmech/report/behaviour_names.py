"""What the report calls a behaviour: its name, and what it is recognised by."""

from __future__ import annotations

from typing import Any

from reasonmech.behaviours import definition_of
from reasonmech.door import checked
from reasonmech.errors import ReasonmechError


@checked
def defined(behaviour: Any) -> str:
    """ "check (functional)", "words:venhoff/backtracking (lexical)"; an unknown one's name alone.

    A run may come from a place where a plug-in is.
    """
    try:
        return f"{behaviour} ({definition_of(str(behaviour))})"
    except ReasonmechError:
        return str(behaviour)
