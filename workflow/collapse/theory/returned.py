"""What a closed form returns, as the docstring of its function defines it name by name."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

_SECTION = re.compile(r"^Returns\n-+\ndict\n(.+?)(?=^\w+\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
# What follows one may be further names, in lines of their own.
_NAMES = re.compile(r"``\w+``(?:, ``\w+``)*,?")


@dataclass(frozen=True)
class Definition:
    """What a docstring says of some of the names that a function returns.

    Attributes
    ----------
    names
        The names that are defined together.
    text
        Their definition, in one line.
    context
        The paragraph before the list, when its names are returned; may be empty.
    notes
        The paragraphs behind the list, which hold for all of it.
    """

    names: tuple[str, ...]
    text: str
    context: str
    notes: tuple[str, ...]


def section(function: Callable[..., Any]) -> str:
    """Return what a docstring says under ``Returns`` of a dict, with null as JSON spells None."""
    found = _SECTION.search(inspect.getdoc(function) or "")
    return re.sub(r"\bNone\b", "null", dedent(found[1]).strip()) if found else ""


def definitions(function: Callable[..., Any]) -> Iterator[Definition]:
    """Yield the definitions of that section: names in a line, and indented below what they are."""
    context, defined, notes = "", [], []
    # A paragraph that ends so begins another list.
    for names, text in [*_blocks(section(function)), ((), ":")]:
        if names:
            defined.append((names, text))
        elif not text.endswith(":"):
            notes.append(text)
        else:
            yield from (Definition(*each, context, tuple(notes)) for each in defined)
            context, defined, notes = text, [], []


def _blocks(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield paragraphs and definitions in one line each, the latter with their names."""
    head: list[str] = []
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        named = bool(_NAMES.fullmatch(line))
        if lines and (named or not line):
            yield tuple(re.findall(r"\w+", " ".join(head))), " ".join(lines)
            head, lines = [], []
        if named:
            head.append(line)
        elif line:
            lines.append(line.strip())
