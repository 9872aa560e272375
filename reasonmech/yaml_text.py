"""YamlText: the one reader of everything that people write in YAML, which refuses what it would guess at."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reasonmech.errors import ConfigError

Key = str | int

MOST_BYTES: Final = 16 * 2**20
MOST_VALUES: Final = 500_000  # aliases written out
DEEPEST: Final = 50
MERGE: Final = "tag:yaml.org,2002:merge"
CORE: Final = "tag:yaml.org,2002:"
SHOWN: Final = 40  # characters of a value in an error
_SCALARS: Final = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "truth value",
    "null": "null",
    "timestamp": "date",  # what takes a text says that it got a date
}
_QUOTE: Final = {"value": "a default value", "merge": "a merge of mappings"}
_OTHER_BASE: Final = re.compile(
    r"[-+]?(0[0-7_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)$"
)
_GROUPED: Final = re.compile(r"[-+]?([0-9]+_[0-9_]*(\.[0-9_]*)?|[0-9]+\.[0-9]*_[0-9_]*)([eE][-+]?[0-9]+)?$")
_GUESSED: Final = {
    b"\xff\xfe": "UTF-16 or UTF-32",
    b"\xfe\xff": "UTF-16",
    b"\x00\x00": "UTF-32",
}


@final
@dataclass(frozen=True)
class YamlText:
    """What a YAML text says, and where.

    Attributes:
        name: of the file or option, for errors.
        value: plain values; what aliases repeat is written out.
        lines: path of keys and numbers -> line, counted from 1.
    """

    name: str
    value: Any
    lines: Mapping[tuple[Key, ...], int]

    def line_of(self, path: Sequence[Key]) -> str:
        """Where a value stands, as an error says it: " (line 12)"; nothing of what is not there."""
        line = self.lines.get(tuple(path))
        return "" if line is None or not path else f" (line {line})"


def read_yaml(path: Path) -> YamlText:
    """Read a YAML file. Raises ConfigError as `parse_yaml`, and where it cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(
                f"{path} has {path.stat().st_size} bytes",
                allowed=f"at most {MOST_BYTES}: what people write is smaller",
            )
        return parse_yaml(path.read_bytes(), name=str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}", allowed="a YAML file in UTF-8") from error


def parse_yaml(content: bytes | str, *, name: str) -> YamlText:
    """What a YAML text says.

    Args:
        name: what an error calls it.

    Raises:
        ConfigError: no UTF-8 (a byte order mark may be in front) or no YAML; a key twice; numbers that are
            not finite, in another base than ten or with underscores; yes, no, on or off that nobody quoted; a
            tag that its value is not; a key that is no word; nested too deep, or too large once aliases are
            written out; with the line.
    """
    text = content if isinstance(content, str) else _decode(content, name)
    try:
        loader = _Loader(text, name)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(
            f"{name}:{line} holds the sign {error.character:#x}",
            allowed="signs that can be printed",
            do="mend that line",
        ) from error
    try:
        node = loader.get_single_node()
        if node is None:
            return YamlText(name, None, {(): 1})
        loader.check(node)
        lines: dict[tuple[Key, ...], int] = {}
        return YamlText(name, loader.build(node, (), lines), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{name}{line} is not YAML: {reason}", do="mend that line") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name} is not YAML: {error}", do="mend the text") from error
    finally:
        loader.dispose()


def _decode(content: bytes, name: str) -> str:
    for mark, encoding in _GUESSED.items():
        if content.startswith(mark):
            raise ConfigError(f"{name} is written in {encoding}", allowed="UTF-8", do="save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{name}:{line} is not UTF-8: byte {content[error.start]:#04x}",
            allowed="UTF-8",
            do="save it as UTF-8",
        ) from error


@final
class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which says no where PyYAML takes the last key, or base eight."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.text_name, self._depth = name, 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            line = self.peek_event().start_mark.line + 1
            raise ConfigError(
                f"{self.text_name}:{line} is nested more than {DEEPEST} deep", do="write it flatter"
            )
        node = super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]
        self._depth -= 1
        return node

    def check(self, node: Node) -> None:
        """Raise ConfigError where aliases name what they stand in, or repeat too much."""
        sizes: dict[int, int] = {}

        def size(node: Node, above: tuple[int, ...]) -> int:
            if id(node) in above:
                raise self._error(node, "an alias stands inside of what it names", do="write it out")
            if id(node) not in sizes:
                inner = (*above, id(node))
                sizes[id(node)] = 1 + sum(size(child, inner) for child in _children(node))
            return sizes[id(node)]

        if (n := size(node, ())) > MOST_VALUES:
            raise ConfigError(
                f"{self.text_name} holds {n} values once its aliases are written out",
                allowed=f"at most {MOST_VALUES}",
                do="write it without aliases",
            )

    def build(self, node: Node, path: tuple[Key, ...], lines: dict[tuple[Key, ...], int]) -> Any:
        """The value of a node; notes where everything in it stands."""
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, SequenceNode) and node.tag.endswith(":seq"):
            return [self.build(child, (*path, i), lines) for i, child in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag.endswith(":map"):
            return self._build_mapping(node, path, lines)
        if not isinstance(node, ScalarNode):
            raise self._error(node, f"a value with the tag {node.tag}", do="leave the tag out")
        return self._scalar(node)

    def _scalar(self, node: ScalarNode) -> Any:
        """The value of one word or number. Raises ConfigError where YAML would make of it what it is not."""
        text, tag = node.value, node.tag.removeprefix(CORE)
        shown = text if len(text) <= SHOWN else text[:SHOWN] + "..."
        plain = self.resolve(ScalarNode, text, (True, False)).removeprefix(CORE)  # pyright: ignore[reportArgumentType]
        if tag in _QUOTE and plain == tag:
            raise self._error(node, f"{shown} would be {_QUOTE[tag]}", do="quote it")
        if tag not in _SCALARS:
            raise self._error(node, f"a value with the tag {node.tag}", do="leave the tag out")
        if tag not in ("str", plain) and (tag, plain) != ("float", "int"):
            raise self._error(node, f"{shown!r} is no {_SCALARS[tag]}", do=f"leave the tag !!{tag} out")
        if tag == "bool" and text.casefold() not in ("true", "false"):
            read = str(self.construct_yaml_bool(node)).lower()
            raise self._error(node, f"{text} would be {read}", do=f"write {read}, or quote it")
        if node.style is None and _OTHER_BASE.match(text):
            raise self._error(
                node, f"{shown} would be a number in another base than ten", do="quote it, or write it in ten"
            )
        if node.style is None and _GROUPED.match(text):
            raise self._error(
                node, f"{shown} would be a number, written in groups", do="quote it, or write it without _"
            )
        try:
            value = self.construct_object(node, deep=True)
        except ValueError as error:  # more digits than Python takes, or the 31st of February
            raise self._error(
                node, f"the {_SCALARS[tag]} {shown}: {error}", do="mend it, or quote it"
            ) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(node, f"the number {shown}", do="give a finite number, or leave it out")
        return value

    def _key(self, node: Node) -> Key:
        """A key: a word, or a whole number."""
        value = self._scalar(node) if isinstance(node, ScalarNode) else None
        if type(value) is str or type(value) is int:
            return value
        what = f"the key {node.value}" if isinstance(node, ScalarNode) else "a key that is no word"
        raise self._error(node, f"{what}, where a word is meant", do="write a word, or quote it")

    def _build_mapping(
        self, node: MappingNode, path: tuple[Key, ...], lines: dict[tuple[Key, ...], int]
    ) -> dict[Any, Any]:
        built: dict[Any, Any] = {}
        first: dict[str, int] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            merge = key_node.tag == MERGE
            key = "<<" if merge else self._key(key_node)
            if str(key) in first:
                raise ConfigError(
                    f"{self.text_name}:{line} has the key {key!r} again, which line {first[str(key)]} has",
                    allowed="each key once",
                    do="write <<: [*one, *other]" if merge else "leave one of the two out",
                )
            first[str(key)] = line
            if merge:
                merged = self._merge(key_node, value_node, path, lines)
                continue
            at = (*path, key)
            lines[at] = line
            built[key] = self.build(value_node, at, lines)
        return merged | built

    def _merge(
        self, key_node: Node, value_node: Node, path: tuple[Key, ...], lines: dict[tuple[Key, ...], int]
    ) -> dict[Any, Any]:
        """What << takes over, the first one's keys before those of the others."""
        merged: dict[Any, Any] = {}
        for part in value_node.value if isinstance(value_node, SequenceNode) else [value_node]:
            value = self.build(part, path, lines)
            if not isinstance(value, dict):
                raise self._error(key_node, "<< names no mapping", do="write the keys out")
            merged = value | merged
        return merged

    def _error(self, node: Node, what: str, *, do: str) -> ConfigError:
        return ConfigError(f"{self.text_name}:{node.start_mark.line + 1}: {what}", do=do)


# 1e-3, which YAML 1.1 takes for a text and everybody else for a number
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _children(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return []
