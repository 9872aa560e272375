"""Settings: the base of every class whose values people write, in code or in YAML, strict in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from reasonmech.arguments import as_plain, describe
from reasonmech.errors import ArgumentError
from reasonmech.ranges import MOST
from reasonmech.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import CoreSchema, ErrorDetails

_STRICT: Final[dict[str, dict[str, Any]]] = {
    "int": {"strict": True, "ge": -MOST, "lt": MOST},
    "float": {"strict": True},
    "bool": {"strict": True},
    "str": {"strict": True},
}
_VALUES: Final = {"default", "cls", "metadata"}  # keys of a schema that hold no schema
_PREFIX: Final = "Input should be "


def _strict(schema: Any) -> Any:
    """A schema of pydantic's with strict plain types and whole numbers of 64 bits, inside of unions too."""
    if isinstance(schema, dict):
        strict = {key: value if key in _VALUES else _strict(value) for key, value in schema.items()}
        return _STRICT.get(str(schema.get("type")), {}) | strict
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    return tuple(_strict(part) for part in schema) if isinstance(schema, tuple) else schema


class _SettingsType(ModelMetaclass):
    """What a call of a class of settings raises is ours; what pydantic builds inside of others is not called,
    so that the reader of a file still hears from pydantic at which key it went wrong.
    """

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **settings: Any) -> Any:
            try:
                return super().__call__(*args, **{name: as_plain(value) for name, value in settings.items()})
            except ValidationError as error:
                raise _argument_error(cls, error.errors(include_url=False)) from error


class Settings(BaseModel, metaclass=_SettingsType):
    """Base of every configuration value: frozen, closed to unknown keys, strict about plain types.

    True is no number, 8.0 no whole number and "8" neither; 1 may be written for 1.0, a list for a tuple, and
    a text for a path.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _strict(handler(source))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same settings but for some.

        Raises:
            ArgumentError: what is new is no setting, or not of its type or range.
        """
        copied = super().model_copy(deep=deep)
        if not update:
            return copied
        before = {name: vars(copied)[name] for name in self.model_fields_set}
        return type(self)(**before | dict(update))


def _argument_error(cls: type[BaseModel], errors: list[ErrorDetails]) -> ArgumentError:
    """What pydantic found wrong with the settings of a call, in our three parts."""
    happened, allowed, do = list[str](), list[str](), list[str]()
    for error in errors:
        name = ".".join(map(str, error["loc"])) or cls.__name__
        if error["type"] == "extra_forbidden":
            close = close_matches(name, cls.model_fields)
            happened.append(f"{cls.__name__} has no setting {name!r}")
            allowed.append(", ".join(cls.model_fields))
            do.append(f"write {' or '.join(close)}" if close else f"leave {name} out")
            continue
        if error["type"] == "missing":
            happened.append(f"{cls.__name__} is given no {name}")
        else:
            happened.append(f"{name} is {describe(error['input'])}")
            allowed.append(error["msg"].removeprefix(_PREFIX))
        field = cls.model_fields.get(str(error["loc"][0])) if error["loc"] else None
        if field is not None and field.description:
            do.append(f"give {error['loc'][0]}: {field.description}")
    return ArgumentError(_joined(happened), allowed=_joined(allowed), do=_joined(do))


def _joined(lines: list[str]) -> str:
    return "; ".join(dict.fromkeys(lines))
