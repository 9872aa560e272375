"""TaskName: a task's name taken apart, such as "jsonl:questions.jsonl?answer=gold&grading=exact"."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from reasonmech.door import checked
from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.registry import split_name
from reasonmech.tasks.splits import Split

Grading = Literal["math", "exact"]
DEADLINE: Final = 5.0  # seconds of computing time for one comparison


@checked
@dataclass(frozen=True)
class TaskName:
    """Kind, what stands behind the colon, and the options behind the question mark.

    Attributes:
        full: all of it, as results name the task.
        argument: a path or a generator's name; empty where there is none.
    """

    full: str
    kind: str
    argument: str
    options: Mapping[str, str]

    @classmethod
    @checked
    def parse(cls, name: str) -> TaskName:
        """Raises ConfigError for an option without a value, or one that is said twice."""
        kind, rest = split_name(name)
        argument, mark, query = rest.partition("?")
        if mark and Path(rest).expanduser().exists():  # a file with a question mark in its name
            argument, query = rest, ""
        options: dict[str, str] = {}
        for option in query.split("&") if query else ():
            key, equals, value = option.partition("=")
            if not (key and equals and value) or key in options:
                why = "twice" if key in options else "without a value"
                raise ConfigError(
                    f"task {name!r} has the option {option!r} {why}", do=f"{kind}:...?key=value&key=value"
                )
            options[key] = value
        return cls(name, kind, argument, options)

    @checked
    def check_options(self, names: Collection[str]) -> None:
        """Raise UnknownNameError for an option that is not among these."""
        for key in self.options:
            if key not in names:
                raise UnknownNameError(f"option of task {self.kind!r}", key, names)

    @property
    def grading(self) -> Grading:
        """How answers are compared."""
        value = self.options.get("grading", "math")
        if value not in get_args(Grading):
            raise UnknownNameError(f"grading of task {self.kind!r}", value, get_args(Grading))
        return cast(Grading, value)

    @property
    def split(self) -> Split | None:
        """The split that all questions are declared to belong to; None: a hash decides."""
        value = self.options.get("split")
        if value is not None and value not in get_args(Split):
            raise UnknownNameError(f"split of task {self.kind!r}", value, get_args(Split))
        return cast("Split | None", value)

    @checked
    def number(self, key: str, default: float, *, least: float, most: float = math.inf) -> float:
        """An option that is a number above `least`, and at most `most`.

        Raises:
            ConfigError: it is none.
        """
        text = self.options.get(key)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if not (least < value <= most and math.isfinite(value)):
            raise ConfigError(
                f"task {self.full!r} has {key}={text}",
                allowed=f"a number above {least:g}" + (f", at most {most:g}" if math.isfinite(most) else ""),
                do=f"{key}={default:g}",
            )
        return value

    @property
    def deadline(self) -> float:
        """Seconds of computing time for one comparison."""
        return self.number("deadline", DEADLINE, least=0.0)
