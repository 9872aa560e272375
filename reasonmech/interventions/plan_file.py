"""Plan files: a plan as a person writes it in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reasonmech.arguments import check_path
from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.reading.entry import Entry
from reasonmech.interventions.reading.spot import PlanContext, Spot
from reasonmech.yaml_text import read_yaml

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

RUN_KEYS: Final = ("model", "partner", "prompts", "task", "decode")  # what `reasonmech steer` reads beside it
KEYS: Final = ("plan", *RUN_KEYS)


def load_plan(
    source: str | Path | Mapping[str, Json], host: Host, *, partner: Host | None = None
) -> list[Intervention]:
    """The plan of a YAML file, or of a mapping such as one holds, for a host.

        plan:
          - edit: {kind: steer, amount: 6.0}
            axis: {kind: direction, file: vector.safetensors, site: resid_post.2}
            where: {or: [{kind: prompt, start: -1}, {kind: generated}]}
            when: {kind: above, axis: {...}, threshold: 0.5}

    An entry has the fields of an `Intervention`; all but `edit` and `axis` may be left out. A kind is what
    is registered in `axes`, `edits`, `masks` or `gates`, a plug-in's too, and its settings are its fields.
    Where a tensor is meant stands a list of numbers, or `{file: FILE.safetensors}`; a coder is a directory,
    or "release/id". Paths are relative to the file.

    Args:
        source: path of a file, or the mapping itself: then paths are relative to the working directory.
        host: on which coders, widths and sites are checked.
        partner: the other model of a pair, for gates with a `role`.

    Raises:
        ConfigError: no YAML, an unknown kind or key, or values that an axis, an edit, a mask or a gate
            refuses; file and key are named.
    """
    raw, context = _read(source, host, partner)
    for key in raw:
        if key not in KEYS:
            unknown = UnknownNameError("key", str(key), KEYS)
            raise ConfigError(f"{context.source}: {unknown.happened}", allowed=unknown.allowed)
    spot = Spot(context, "plan", host)
    entries = raw.get("plan")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise spot.mistyped(entries, allowed="a list of interventions", do="plan: [{edit: ..., axis: ...}]")
    return [read_intervention(entry, spot.inside(i)) for i, entry in enumerate(entries)]


def read_intervention(value: Json, spot: Spot) -> Intervention:
    """The intervention that stands at a spot of a plan file.

    Raises:
        ConfigError: as in `load_plan`.
    """
    if not isinstance(value, Mapping):
        raise spot.mistyped(value, allowed="a mapping with the keys edit and axis")
    with spot.located():
        return Intervention(**Entry("an intervention", value, spot).read_fields(Intervention))


def _read(
    source: str | Path | Mapping[str, Json], host: Host, partner: Host | None
) -> tuple[Mapping[str, Any], PlanContext]:
    if isinstance(source, Mapping):
        return source, PlanContext("the plan", Path.cwd(), host, partner)
    path = Path(
        check_path(
            source,
            name="source",
            allowed="the path of a YAML file, or a mapping with the key `plan`",
            do='rm.load_plan("plan.yaml", host)',
        )
    ).expanduser()
    text = read_yaml(path)
    raw = text.value
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path} holds no mapping", allowed=f"keys {', '.join(KEYS)}")
    return raw, PlanContext(str(path), path.parent, host, partner, text)
