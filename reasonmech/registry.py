"""Open registries: kind -> class. A plug-in adds a kind without editing this package."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, TypeVar, cast, final
from weakref import WeakSet

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ConfigError, DuplicateNameError, UnknownNameError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[[str], Any])
V = TypeVar("V")  # what is registered keeps its own type, which is narrower than the registry's
ENTRY_POINT_GROUP = "reasonmech"
_OURS = ("reasonmech.tasks",)
"""Modules that fill a registry of a layer below them. No entry point, which a source tree would not have."""
_KIND: Final = re.compile("[:?]")
_loaded_plugins: set[str] = set()
_failed_plugins: dict[str, str] = {}
_registries: Final[WeakSet[Registry[Any]]] = WeakSet()


def load_plugins() -> None:
    """Import what fills registries of a layer below it, and every module that an installed package names in
    the entry point group `reasonmech`, once.

    One that cannot be imported, or that ends the process when it is, takes nothing with it: a warning names
    it, and whoever looks for a kind that is not there is told.
    """
    for module in _OURS:
        if module not in _loaded_plugins:
            _loaded_plugins.add(module)
            import_module(module)
    for point in _installed():
        if point.value in _loaded_plugins:
            continue
        _loaded_plugins.add(point.value)
        before = {registry: registry.added() for registry in _registries}
        try:
            point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            for registry in list(_registries):
                registry.forget(registry.added() - before.get(registry, frozenset()))
            name = f"{point.name} = {point.value!r}"
            if point.dist is not None:
                name += f" of {point.dist.name} {point.dist.version}"
            _failed_plugins[name] = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"plug-in {name} cannot be imported, and what it adds is not there: {_failed_plugins[name]}",
                stacklevel=2,
            )


_Path = tuple[tuple[str, int], ...]
_scans: Final[dict[_Path, tuple[EntryPoint, ...]]] = {}


def _installed() -> tuple[EntryPoint, ...]:
    """What installed packages name in our group; looked up anew where the path or a folder of it changed, as
    it does when something is installed while a notebook runs."""
    state = tuple((place, _changed(place)) for place in sys.path)
    if state not in _scans:
        _scans.clear()
        _scans[state] = tuple(entry_points(group=ENTRY_POINT_GROUP))
    return _scans[state]


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def failed_plugins() -> dict[str, str]:
    """Plug-ins that could not be imported, and why."""
    load_plugins()
    return dict(_failed_plugins)


def split_name(name: str) -> tuple[str, str]:
    """Kind of a name, and what stands behind it: ("jsonl", "a.jsonl?split=test") of
    "jsonl:a.jsonl?split=test", ("gsm8k", "?grading=exact") of "gsm8k?grading=exact"."""
    kind = _KIND.split(name, maxsplit=1)[0]
    return kind, name[len(kind) :].removeprefix(":")


@final
class Registry(Generic[T]):
    """Kind -> value, filled by a decorator.

    >>> scores = Registry("score")
    >>> @scores.register("auroc")
    ... def auroc(): ...

    Raises:
        DuplicateNameError: a kind is registered twice.
        UnknownNameError: a kind is looked up that nobody registered: the ones that look like it, and all
            there are.
        ArgumentError: a kind that is no string.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}
        self._families: dict[str, tuple[str, Callable[[str], T]]] = {}
        self._added = set[str]()
        _registries.add(self)

    def __repr__(self) -> str:
        return f"Registry({self.noun!r}, {len(self._entries)} kinds)"

    def register(self, kind: str) -> Callable[[V], V]:
        """A decorator that adds a class or a value under a kind, and returns it as it is."""
        # without the parentheses the class itself comes here, and would become a decorator
        check_type(kind, str, name="kind", allowed="a string", do=f'@register("my_{self.noun}")')

        def add(value: V) -> V:
            if kind in self._entries or kind in self._families:
                by = self._entries.get(kind, f"the family {kind}")
                raise DuplicateNameError(
                    f"{self.noun} {kind!r} is registered already, by {by!r}",
                    do="choose another kind; kinds are global",
                )
            self._entries[kind] = cast(T, value)
            self._note_added(kind)
            return value

        return add

    def family(self, kind: str, *, form: str) -> Callable[[F], F]:
        """A decorator that adds what makes entries from their names: "kind", "kind:more" or "kind?more".

        Args:
            form: how such a name is written, for errors: "jsonl:PATH".
        """
        check_type(kind, str, name="kind", allowed="a string", do=f'@family("my_{self.noun}", form="...")')

        def add(make: F) -> F:
            if kind in self._entries or kind in self._families:
                raise DuplicateNameError(
                    f"{self.noun} {kind!r} is registered already", do="choose another kind; kinds are global"
                )
            self._families[kind] = (form, cast("Callable[[str], T]", make))
            self._note_added(kind)
            return make

        return add

    def forms(self) -> list[str]:
        """How names of families are written, and every kind there is."""
        kinds = self.kinds()
        return [*kinds, *(form for form, _ in self._families.values())]

    def added(self) -> frozenset[str]:
        """Kinds that other packages, or whoever uses this one, registered."""
        return frozenset(self._added)

    def _note_added(self, kind: str) -> None:
        """Remember a kind that was registered from outside of this package."""
        if not f"{sys._getframe(2).f_globals.get('__name__', '')}.".startswith("reasonmech."):
            self._added.add(kind)

    def forget(self, kinds: frozenset[str]) -> None:
        """Take kinds out again that a plug-in added before it failed."""
        for kind in kinds:
            self._entries.pop(kind, None)
            self._families.pop(kind, None)
        self._added -= kinds

    def get(self, kind: str) -> T:
        """What is registered under a kind; plug-ins are imported when it is not there yet."""
        check_type(kind, str, name=f"{self.noun} kind", allowed=", ".join(self._entries))
        if kind not in self._entries:
            load_plugins()
        if kind not in self._entries and (family := self._families.get(split_name(kind)[0])):
            return family[1](kind)
        if kind not in self._entries:
            lost = "; ".join(f"plug-in {name}, which failed: {why}" for name, why in failed_plugins().items())
            do = f"mend or uninstall {lost}" if lost else ""
            raise UnknownNameError(self.noun, kind, self.forms(), do=do)
        return self._entries[kind]

    def kinds(self) -> list[str]:
        """Every kind there is, plug-ins' too."""
        load_plugins()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds())

    def split_config(self, config: object, *, example: str) -> tuple[str, dict[str, object]]:
        """Kind and settings of a mapping `{kind: ..., setting: ...}`; a string is a kind without settings.

        Args:
            example: of such a mapping, for the error.

        Raises:
            ArgumentError: neither a string nor a mapping. ConfigError: its kind is no string.
        """
        if isinstance(config, str):
            return config, {}
        article = "an" if self.noun[:1] in "aeiou" else "a"
        settings = dict(
            check_type(
                config,
                Mapping,
                name=f"the configuration of {article} {self.noun}",
                allowed="a mapping",
                do=f"write {example}",
            )
        )
        kind = settings.pop("kind", None)
        if not isinstance(kind, str):
            raise ConfigError(
                f"{article} {self.noun} whose kind is {describe(kind)}",
                allowed=", ".join(self.kinds()),
                do=f"write {example}",
            )
        return kind, settings

    def check_settings(self, kind: str, settings: Mapping[str, object], names: Sequence[str]) -> None:
        """Raise UnknownNameError for a setting that is not among `names`."""
        for key in settings:
            if key not in names:
                raise UnknownNameError(f"setting of {self.noun} {kind!r}", str(key), names)
