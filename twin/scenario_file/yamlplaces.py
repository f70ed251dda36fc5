"""YAML as plain data that remembers on which line each value stands.

Scalars follow the core schema of YAML 1.2, so that `1e6` is a number and `off` is a word. A key that is given twice
is an error, as are tags and anchors that contain themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from twin.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Loc = tuple[int | str, ...]
"""A place in nested data: keys and list positions from the outside in."""

_LARGEST = 100_000
"""Largest number of values in a file, anchors counted as often as they are used."""
_TAG = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the name and type that PyYAML looks up


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read back as text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the name and type that PyYAML looks up

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - the signature is PyYAML's
        """Write repeated values out, as people do."""
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Escape what does not print: PyYAML turns rare line breaks into spaces otherwise."""
    return dumper.represent_scalar(f"{_TAG}str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text_node)
for _name, (_pattern, _first) in _PATTERNS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file.

    Attributes:
        path: Where it was read.
        text: Its text.
        data: Its content as dicts, lists and scalars.
        root: Its node tree.
    """

    path: Path
    text: str
    data: Any
    root: yaml.Node

    def line(self, loc: Loc) -> int:
        """Line on which a place stands, from 1; that of the innermost place around it that exists."""
        node, line = self.root, self.root.start_mark.line
        for part in loc:
            entry = _entry(node, part)
            if entry is None:
                break
            node, line = entry
        return line + 1

    def heading(self) -> str:
        """The first paragraph of the comment at the top of the file, as one line; empty if there is none."""
        words: list[str] = []
        for line in self.text.splitlines():
            content = line.lstrip("#").strip()
            if not line.startswith("#") or (words and not content):
                break
            words += content.split()
        return " ".join(words)


def read_yaml(path: Path, guide: str = "docs/scenario.md shows what a scenario holds") -> Document:
    """Read a YAML file.

    Args:
        path: The file.
        guide: Where it is written what should stand in the file, for the message about an empty one.

    Raises:
        ScenarioError: The file cannot be read, is not YAML, is empty or gives a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    root = _compose(text, where := _in_file(path))
    if root is None:
        raise ScenarioError(f"{path}: is empty; {guide}")
    return Document(path, text, _Builder(where).build(root), root)


def parse_value(text: str, source: str) -> Any:  # noqa: ANN401 - YAML holds any plain data
    """Read one value in YAML, such as that of a command-line option.

    Args:
        text: The value.
        source: Where it comes from, for messages.

    Raises:
        ScenarioError: The value is not YAML.
    """
    root = _compose(text, where := _constant(source))
    return None if root is None else _Builder(where).build(root)


def dump_yaml(data: Any) -> str:  # noqa: ANN401 - YAML holds any plain data
    """Write plain data as YAML that `read_yaml` and `parse_value` read back unchanged."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def dotted(loc: Loc) -> str:
    """Write a place as `devices.0.load`."""
    return ".".join(map(str, loc))


def _in_file(path: Path) -> Callable[[int], str]:
    return lambda line: f"{path}:{line}:"


def _constant(source: str) -> Callable[[int], str]:
    return lambda _: f"{source}:"


def _compose(text: str, where: Callable[[int], str]) -> yaml.Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        context = f" ({error.context})" if error.context else ""
        raise ScenarioError(f"{where(line)} is not YAML: {error.problem}{context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(f"{where(line)} holds a character that YAML does not allow; remove it") from error
    except RecursionError as error:
        raise ScenarioError(f"{where(1)} is nested too deeply to be a scenario") from error


def _entry(node: yaml.Node, part: int | str) -> tuple[yaml.Node, int] | None:
    """The node at a key or position within `node`, and its line from 0."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None


class _Builder:
    """Turns a node tree into plain data."""

    def __init__(self, where: Callable[[int], str]) -> None:
        self._where = where
        self._open: list[yaml.Node] = []
        self._count = 0

    def build(self, node: yaml.Node, loc: Loc = ()) -> Any:  # noqa: ANN401 - YAML holds any plain data
        self._count += 1
        if node in self._open or self._count > _LARGEST:
            raise self._error(node, loc, "an anchor contains itself or is repeated too often; write the values out")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        self._open.append(node)
        if isinstance(node, yaml.MappingNode):
            data: Any = self._mapping(node, loc)
        else:
            data = [self.build(item, (*loc, position)) for position, item in enumerate(node.value)]
        self._open.pop()
        return data

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        lines: dict[str, int] = {}
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, loc, "a key must be a plain word")
            inner = (*loc, self._text(key, loc))
            if key.value in lines:
                raise self._error(
                    key, inner, f"the key is given twice, first on line {lines[key.value]}; remove one of them"
                )
            lines[key.value] = key.start_mark.line + 1
            data[key.value] = self.build(value, inner)
        return data

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> bool | int | float | str | None:
        kind, text = node.tag.removeprefix(_TAG), self._text(node, loc)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError as error:
            raise self._error(node, loc, "is not a number that can be read; write it shorter") from error
        if kind != "str":
            raise self._error(node, loc, f"the tag `{node.tag}` is not supported; remove it")
        return text

    def _text(self, node: yaml.ScalarNode, loc: Loc) -> str:
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(node, loc, "holds half of a character (a lone surrogate); remove it")
        return text

    def _error(self, node: yaml.Node, loc: Loc, text: str) -> ScenarioError:
        place = f" {dotted(loc)}:" if loc else ""
        return ScenarioError(f"{self._where(node.start_mark.line + 1)}{place} {text}")
