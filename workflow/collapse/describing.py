"""What the code declares of each key of the config, each metric and each figure."""

import difflib
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from textwrap import dedent, fill, indent
from typing import Any

from collapse import studies
from collapse.config import Settings
from collapse.config.section import Section
from collapse.config.slots import kinds
from collapse.errors import InputError
from collapse.provenance import docstring_digest, modules_in

CATEGORIES = ("key", "metric", "figure")
_WIDTH = 98
# Whose docstrings say what the rows of tables are: the functions that yield them.
_MEASURING = ("metrics", "probes", "procedures")
_YIELDING = re.compile(r"\w*_readings|rows|gnc2")
# Values of the column `layer`.
_LAYER = re.compile(r"all|H\w?|W\w|Z|hidden\d")
_NAME = re.compile(r"``(\w+)(?:\[[^\]`]*\])?``")


@dataclass(frozen=True)
class Entry:
    """One thing that can be described.

    Attributes
    ----------
    category
        One of `CATEGORIES`.
    name
        A dotted key, a metric as tables and JSON have it, or a figure.
    of
        Where it belongs: the procedure and kinds of a key, the studies of a figure.
    paragraphs
        What is declared of it; of a metric docstrings, in their lines.
    takes
        Type, range and default of a key.
    """

    category: str
    name: str
    of: str
    paragraphs: tuple[str, ...]
    takes: str = ""

    @property
    def text(self) -> str:
        """All that is declared of it, in lines that fit a terminal."""
        if self.category == "metric":
            return "\n\n".join(self.paragraphs)
        lines = [self.takes, *self.paragraphs] if self.takes else self.paragraphs
        return "\n".join(fill(line, _WIDTH) for line in lines)

    @property
    def places(self) -> list[str]:
        """Where it belongs in a word each: to which procedures, or to which study."""
        parts = (part.partition(",")[0] for part in self.of.split("; "))
        return list(dict.fromkeys(filter(None, parts)))

    def matches(self, name: str) -> bool:
        """Return whether a name means this: the whole, or the end of a dotted key."""
        return self.name == name or self.category == "key" and self.name.endswith(f".{name}")

    def __str__(self) -> str:
        where = f" of {self.of}" if self.of else ""
        head = fill(f"{self.name}  ({self.category}{where})", _WIDTH, subsequent_indent="    ")
        return f"{head}\n{indent(self.text, '  ')}"


def entries(names: Iterable[str]) -> list[Entry]:
    """Return everything that can be described: keys, metrics, and figures of these studies."""
    return [*_keys(), *_metrics(), *_figures(names)]


def modules(names: Iterable[str]) -> tuple[str, ...]:
    """Return the modules whose code says what there is, with those of these studies."""
    # Sections are found by listing their folders: no import leads to them.
    sections = modules_in("collapse.config.sections")
    return (*sections, "collapse.metrics.measure", *(f"collapse.studies.{name}" for name in names))


def docstrings() -> str:
    """Return the digest of the docstrings that say what metrics are, which code digests leave out.

    Of the sources, so that planning need not import what measures.
    """
    return docstring_digest(
        *(each for part in _MEASURING for each in modules_in(f"collapse.{part}"))
    )


def find(names: Iterable[str], name: str) -> list[Entry]:
    """Return what has a name: ``feature_norm[0]`` that of all places, ``depth`` keys that end so.

    What ends in ``_unweighted`` is the metric of the name before, about another mean.

    Raises
    ------
    InputError
        There is nothing of this name; the message has the nearest.
    """
    plain = re.sub(r"\[[^]]*\]$", "", name).removesuffix("_unweighted")
    everything = entries(names)
    found = [entry for entry in everything if entry.matches(plain)]
    if not found:
        close = difflib.get_close_matches(plain, {entry.name for entry in everything}, 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise InputError(
            f"no key, metric or figure '{name}'{hint} (`collapse describe` lists all there are)"
        )
    return found


def _keys() -> Iterator[Entry]:
    """Yield keys of the config, those that mean the same in several blocks once."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for of, path, section in _blocks():
        schema = section.model_json_schema()
        for key, where in _walk(schema, schema.get("$defs", {}), path):
            found.setdefault(key, []).append(", ".join([of, *where]))
    for (path, takes, text), of in found.items():
        yield Entry("key", path, "; ".join(dict.fromkeys(of)), (text,) if text else (), takes)


def _blocks() -> Iterator[tuple[str, str, type[Section]]]:
    """Yield the blocks that a config is made of: what each is, its place, and its section."""
    yield "the whole config", "", Settings
    for name, section in kinds("source").items():
        yield f"data sets ({name})", "datasets.NAME", section
    for name, section in kinds("procedure").items():
        yield f"experiments ({name})", "", section


def _walk(
    schema: Mapping[str, Any], defs: Mapping[str, Any], path: str = "", where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, str, str], tuple[str, ...]]]:
    """Yield what a section's schema says of its keys, and the kinds that each is of.

    It says the dotted key, what that takes and what it is.
    """
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        key = f"{path}.{name}" if path else name
        kind = field.get("const")
        if name == "kind" and kind is not None:
            continue
        default = "" if name in required else f", default {_shown(field.get('default'))}"
        # A kind of the user's own need not describe its keys.
        yield (key, f"{_type(field, defs)}{default}", field.get("description", "")), where
        for section in _sections(field, defs):
            kind = section["properties"].get("kind", {}).get("const")
            # A reference to another experiment would begin anew.
            if section["properties"].keys() & {"grid"}:
                continue
            yield from _walk(section, defs, key, (*where, f"{name} {kind}") if kind else where)


def _sections(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the sections that a field may hold, by themselves or in a list."""
    if "$ref" in field:
        yield defs[field["$ref"].rpartition("/")[2]]
    parts = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    if isinstance(field.get("items"), Mapping):
        parts.append(field["items"])
    for part in parts:
        yield from _sections(part, defs)


_TYPES = {
    "number": "a number", "integer": "an integer", "string": "text", "boolean": "true or false",
    "null": "null", "object": "a mapping",
}  # fmt: skip


def _type(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return in words what a field takes."""
    if "enum" in field or "const" in field:
        values = field.get("enum", [field.get("const")])
        return " or ".join(map(str, values)) if len(values) < 3 else f"one of {', '.join(values)}"
    chosen = [s["properties"].get("kind", {}).get("const") for s in _sections(field, defs)]
    if "oneOf" in field or "$ref" in field:
        return (
            f"a section of kind {', '.join(filter(None, chosen))}" if any(chosen) else "a section"
        )
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part, defs) for part in field["anyOf"]))
    if field.get("type") == "array":
        items = field.get("items") or {}
        return f"a list of {_type(items, defs) if items else 'values'}{_range(field, 'Items')}"
    return f"{_TYPES.get(field.get('type'), 'anything')}{_range(field)}"


def _range(field: Mapping[str, Any], of: str = "") -> str:
    """Return the bounds of a number, or of how many items there are."""
    lowest = field.get("minItems") if of else field.get("ge", field.get("minimum"))
    highest = field.get("maxItems") if of else field.get("le", field.get("maximum"))
    above = None if of else field.get("gt", field.get("exclusiveMinimum"))
    below = None if of else field.get("lt", field.get("exclusiveMaximum"))
    words = [
        f"{word} {_shown(bound)}"
        for word, bound in (("above", above), ("from", lowest), ("below", below), ("to", highest))
        if bound is not None
    ]
    if of:
        return f" ({' '.join(words)} of them)" if words else ""
    return f" {' '.join(words)}" if words else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, float | int) and value >= 1e6 and math.log10(value).is_integer():
        return f"10^{math.log10(value):g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metrics() -> Iterator[Entry]:
    """Yield metrics, each with the docstrings of the functions that return it."""
    from collapse.metrics.measure import functions

    texts = {name: [_doc(function)] for name, function in functions().items()}
    for part in _MEASURING:
        for place in _declared(f"collapse.{part}"):
            text = _doc(place)
            for name in dict.fromkeys(_NAME.findall(text)):
                # A metric's own function is the better place.
                if name in functions() or _LAYER.fullmatch(name):
                    continue
                if text not in texts.setdefault(name, []):
                    texts[name].append(text)
    for name, paragraphs in texts.items():
        yield Entry("metric", name, "", tuple(paragraphs))


@cache
def _declared(package: str) -> list[Any]:
    """Return a package's functions that yield rows, and what its packages say of states."""
    found: list[Any] = []
    for place in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        # It needs a package that is perhaps not there, and yields nothing of its own.
        if place.name.endswith(".torchmetrics"):
            continue
        module = importlib.import_module(place.name)
        found += [module] if place.ispkg else []
        functions = inspect.getmembers(module, inspect.isfunction)
        found += [each for name, each in functions if _YIELDING.fullmatch(name)]
    return found


def _doc(place: Any) -> str:
    return dedent(f"{' ' * 4}{inspect.getdoc(getattr(place, 'func', place))}").strip()


def _figures(names: Iterable[str]) -> Iterator[Entry]:
    for name in names:
        study = studies.load(name)
        for figure, plot in study.figures.items():
            paragraphs = (
                plot.caption,
                f"Reads {', '.join(plot.reads)}.",
                f"Objective: {study.objective.removesuffix('.')}.",
            )
            yield Entry("figure", figure, name, paragraphs)
