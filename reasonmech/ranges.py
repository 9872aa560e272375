"""Ranges: what numbers a parameter or a setting takes, said once, where its type is said."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

MOST = 2**63  # whole numbers end up in tensors and files of 64 bits

Positive: TypeAlias = Annotated[int, Ge(1), Lt(MOST)]  # how many, where none would be nothing
Count: TypeAlias = Annotated[int, Ge(0), Lt(MOST)]  # how many
Seed: TypeAlias = Annotated[int, Ge(0), Lt(MOST)]
Id: TypeAlias = Annotated[int, Ge(0), Lt(MOST)]  # of a token, a feature, a row, a position
Share: TypeAlias = Annotated[float, Ge(0.0), Le(1.0)]
InnerShare: TypeAlias = Annotated[float, Gt(0.0), Lt(1.0)]  # a share that leaves something on both sides
Size: TypeAlias = Annotated[float, Ge(0.0)]  # of a quantity that has no sign
