"""Intervention: one frozen value, `x <- x + where * when * W(edit(R(x)) - R(x))`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, final

from reasonmech.door import checked
from reasonmech.errors import BindError
from reasonmech.interventions.axes import Axis, Features
from reasonmech.interventions.canonical import Json, fingerprint
from reasonmech.interventions.check_parts import check_parts
from reasonmech.interventions.edits import Edit
from reasonmech.interventions.gates import ALWAYS, Gate
from reasonmech.interventions.masks import EVERYWHERE, Where
from reasonmech.ranges import Count
from reasonmech.site import Site

ErrorTerm: TypeAlias = Literal["keep", "drop"]


@checked
@final
@dataclass(frozen=True, eq=False, repr=False)
class Intervention:
    """An edit of an axis at the tokens that `where` names, weighted by the gate `when`. Made by the verbs.

    Attributes:
        error: "keep" writes the difference only, so a coder's reconstruction error stays in the stream;
            "drop" replaces the stream by the coder's reconstruction with the edit in it.
        require_gated: tokens at which its gate must be open in a run; fewer is a NoChangeError.
        no_change_allowed: it may change nothing in a run, as some controls are meant to; otherwise that is a
            NoChangeError. Neither of the two is part of its identity.

    Raises:
        ArgumentError: no axis, edit, mask or gate. BindError: the edit makes no sense on this axis.
    """

    axis: Axis
    edit: Edit
    where: Where = EVERYWHERE
    when: Gate = ALWAYS
    error: ErrorTerm = "keep"
    require_gated: Count = 0
    no_change_allowed: bool = False

    def __post_init__(self) -> None:
        check_parts(self.axis, self.edit, self.where, self.when)
        self.edit.check(self.axis)
        if self.error not in ("keep", "drop"):
            raise BindError(f"error={self.error!r}", allowed='"keep", "drop"')
        if self.error == "drop" and not isinstance(self.axis, Features):
            raise BindError('error="drop" on an axis without reconstruction error', allowed="Features")

    def __repr__(self) -> str:
        where = "" if self.where == EVERYWHERE else f", where={self.where}"
        when = "" if self.when is ALWAYS else f", when={self.when!r}"
        return f"Intervention({self.axis!r}, {self.edit!r}{where}{when})"

    @property
    def site(self) -> Site:
        return self.axis.at

    @property
    def verb(self) -> str:
        return self.edit.kind

    def allow_no_change(self) -> Intervention:
        """The same intervention, which may change nothing in a run: a control that is meant to be silent."""
        return replace(self, no_change_allowed=True)

    def to_json(self) -> dict[str, Json]:
        """Canonical form, tensors by content: equal exactly when two interventions do the same."""
        return {
            "axis": self.axis.to_json(),
            "edit": self.edit.to_json(),
            "where": self.where.to_json(),
            "when": self.when.to_json(),
            "error": self.error,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical form: its identity in every table and cache."""
        return fingerprint(self.to_json())


def plan_fingerprint(plan: Sequence[Intervention]) -> str:
    """SHA-256 of a whole plan, order included."""
    return fingerprint([intervention.to_json() for intervention in plan])
