"""Spot: where in a plan file something stands, and what is needed to read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from reasonmech.arguments import describe
from reasonmech.coders.load import load_coder
from reasonmech.errors import ConfigError, ReasonmechError
from reasonmech.yaml_text import YamlText

if TYPE_CHECKING:
    from reasonmech.coders.coder import SparseCoder
    from reasonmech.hosts.host import Host


@final
@dataclass(frozen=True, eq=False)
class PlanContext:
    """What a plan file is read with.

    Attributes:
        source: what errors call it: the path of the file, or "the plan".
        directory: what the paths in it are relative to.
        host: the model that the plan is for.
        partner: the other model of a pair, which some gates read; None where there is none.
        text: what the file says, with its lines; None of a mapping.
    """

    source: str
    directory: Path
    host: Host
    partner: Host | None = None
    text: YamlText | None = None
    _coders: dict[tuple[str, Host | None], SparseCoder] = field(init=False, default_factory=dict, repr=False)

    def path(self, text: str) -> Path:
        """A path of the file: absolute, below "~", or relative to the file's directory."""
        return self.directory / Path(text).expanduser()

    def coder(self, text: str, host: Host | None) -> SparseCoder:
        """A coder by path or by name, loaded once, and held to a host (None: to none)."""
        if (text, host) not in self._coders:
            beside = self.path(text)
            self._coders[text, host] = load_coder(beside if beside.exists() else text, host=host)
        return self._coders[text, host]


@final
@dataclass(frozen=True, eq=False)
class Spot:
    """A place in a plan file.

    Attributes:
        path: keys and numbers that lead there, such as "plan[0].edit.amount".
        host: the model that an axis or gate at this place reads; None for a partner where none was given.
    """

    context: PlanContext
    path: str
    host: Host | None

    def inside(self, key: str | int) -> Spot:
        """A key of the mapping, or an item of the list, that stands here."""
        return replace(self, path=f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}")

    def beside(self) -> Spot:
        """The same place, where it speaks of the partner."""
        return replace(self, host=self.context.partner)

    def error(self, happened: str, *, allowed: str = "", do: str = "") -> ConfigError:
        """What is wrong here, with file, place and line."""
        source, path = self.context.source, self.path
        return ConfigError(f"{source}: {path}: {happened}{self._line}", allowed=allowed, do=do)

    def mistyped(self, value: object, *, allowed: str, do: str = "") -> ConfigError:
        """A value of the wrong type here."""
        source, path = self.context.source, self.path
        return ConfigError(f"{source}: {path} is {describe(value)}{self._line}", allowed=allowed, do=do)

    @property
    def _line(self) -> str:
        """The line on which it stands, as `YamlText.line_of` says it."""
        parts = self.path.replace("]", "").replace("[", ".").split(".")
        text = self.context.text
        return "" if text is None else text.line_of([int(p) if p.isdigit() else p for p in parts])

    @contextmanager
    def located(self) -> Iterator[None]:
        """Give every error of the block the file and the place.

        Raises:
            ConfigError: in place of any other error of this library; one that is there names a deeper place.
        """
        try:
            yield
        except ConfigError:
            raise
        except ReasonmechError as error:
            raise self.error(error.happened, allowed=error.allowed, do=error.do) from error
