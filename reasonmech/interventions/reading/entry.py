"""Entry: the settings of one axis, edit, mask or gate in a plan file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, Final, final, get_type_hints

from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import UnknownNameError
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.reading.spot import Spot
from reasonmech.interventions.reading.tensors import PINS, read_tensor
from reasonmech.interventions.reading.typed import typed
from reasonmech.registry import Registry

_OF_A_FILE: Final = ("file", "tensor", *PINS)


@checked
@final
@dataclass(frozen=True, eq=False)
class Entry:
    """A mapping `{kind: steer, amount: 6.0}` of a plan file.

    Attributes:
        noun: what errors call it: "edit 'steer'".
        settings: what stands there beside the kind.
    """

    noun: str
    settings: Mapping[str, Json]
    spot: Spot

    @classmethod
    def at(cls, spot: Spot, value: Json, registry: Registry[Any]) -> tuple[str, Entry]:
        """The kind that stands at a spot, and its settings; a kind without settings may stand alone.

        Raises:
            ConfigError: no mapping, or a mapping without a kind.
        """
        mapping = {"kind": value} if isinstance(value, str) else value
        if not isinstance(mapping, dict) or not isinstance(mapping.get("kind"), str):
            kinds = registry.kinds()
            raise spot.mistyped(
                value,
                allowed=f"a mapping with a kind of {registry.noun}: {', '.join(kinds)}",
                do=f"write {{kind: {kinds[0]}, ...}}",
            )
        settings = {key: setting for key, setting in mapping.items() if key != "kind"}
        return mapping["kind"], cls(f"{registry.noun} {mapping['kind']!r}", settings, spot)

    def beside(self) -> Entry:
        """The same entry, where what it holds reads the partner."""
        return replace(self, spot=self.spot.beside())

    @checked
    def only(self, names: Collection[str]) -> None:
        """Refuse every setting but these. Raises ConfigError, naming the first of the others."""
        for key in self.settings:
            if key not in names:
                unknown = UnknownNameError(f"setting of {self.noun}", str(key), sorted(names))
                raise self.spot.error(unknown.happened, allowed=unknown.allowed or "no setting")

    @checked
    def read(self, name: str, annotation: Any, default: Any = MISSING) -> Any:
        """A setting, as an annotation says; the default where it is not there.

        Raises:
            ConfigError: it is not there and has no default, or it is nothing that the annotation allows.
        """
        if name in self.settings:
            return typed(self.settings[name], annotation, self.spot.inside(name))
        if default is MISSING:
            raise self.spot.error(f"{self.noun} lacks {name}", do=f"write {name}: ...")
        return default

    @checked
    def read_tensor(self, name: str) -> Tensor:
        """A tensor that is all there is to read: `name: {file: FILE}`, or shorter `file: FILE`."""
        if "file" not in self.settings:
            return self.read(name, Tensor)
        if name in self.settings:
            raise self.spot.error(f"{self.noun} has both {name} and file", allowed="one of them")
        short = {key: self.settings[key] for key in _OF_A_FILE if key in self.settings}
        return read_tensor(short, self.spot)

    def read_fields(self, cls: type) -> dict[str, Any]:
        """A value for every field of a dataclass that stands here, as its annotation says.

        Raises:
            ConfigError: a setting is no field, a field without a default is missing, or a value is of another
                type.
        """
        if not is_dataclass(cls):
            raise self.spot.error(
                f"{self.noun} is no dataclass, so that nothing says what its settings are",
                do="give the class a from_entry(entry) that says how it is written",
            )
        hints = self._hints(cls)
        known = {one.name: one for one in fields(cls) if one.init}
        self.only(known)
        missing = [
            name
            for name, one in known.items()
            if one.default is MISSING and one.default_factory is MISSING and name not in self.settings
        ]
        if missing:
            raise self.spot.error(f"{self.noun} lacks {', '.join(missing)}", allowed=", ".join(known))
        return {name: self.read(name, hints[name]) for name in known if name in self.settings}

    def _hints(self, cls: type) -> dict[str, Any]:
        try:
            return get_type_hints(cls)
        except NameError as error:
            raise self.spot.error(
                f"{self.noun} has a field whose type is not known when it runs: {error}",
                do="import the type outside of TYPE_CHECKING, or give the class a from_entry(entry)",
            ) from error


def tensor_settings(name: str) -> tuple[str, ...]:
    """The settings that `Entry.read_tensor` reads."""
    return (name, *_OF_A_FILE)
