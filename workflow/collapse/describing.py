"""What the code declares: studies and figures, keys and kinds, data sets, metrics, predictions."""

import difflib
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from textwrap import dedent, fill, indent
from typing import Any

from collapse import studies
from collapse.config import Settings, sections
from collapse.config.section import Section
from collapse.config.slots import kinds
from collapse.errors import InputError
from collapse.provenance import docstring_digest, modules_in
from collapse.theory.returned import Definition, definitions

CATEGORIES = {
    "study": "studies", "key": "keys", "kind": "kinds", "data set": "data sets",
    "metric": "metrics", "prediction": "predictions", "figure": "figures",
}  # fmt: skip
"""What can be described, with the plurals."""
_WIDTH = 98
# Whose docstrings say what the rows of tables are: the functions that yield them.
_MEASURING = ("metrics", "probes", "procedures")
# Whose docstrings say what the rest is.
_DECLARING = (*_MEASURING, "theory", "config.sections", "data.sets")
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
        A dotted key, a metric or prediction as tables and JSON have it, or a name of its own.
    of
        Where it belongs: the procedure and kinds of a key, the slot of a kind, a study.
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
    """Return everything that can be described, with what is of these studies."""
    own = [entry for name in names for entry in _of_study(name)]
    return [*own, *_keys(), *_kinds(), *_data_sets(), *_metrics()]


def modules(names: Iterable[str]) -> tuple[str, ...]:
    """Return the modules whose code says what there is, with those of these studies."""
    # Sections are found by listing their folders: no import leads to them.
    sections = modules_in("collapse.config.sections")
    return (*sections, "collapse.metrics.measure", *(f"collapse.studies.{name}" for name in names))


def docstrings() -> str:
    """Return the digest of the docstrings that are shown, which code digests leave out.

    Of the sources, so that planning need not import what measures.
    """
    return docstring_digest(
        *(each for part in _DECLARING for each in modules_in(f"collapse.{part}"))
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
        spelt = {entry.name.lower(): entry.name for entry in everything}
        close = difflib.get_close_matches(plain.lower(), spelt, 1)
        hint = f", did you mean '{spelt[close[0]]}'?" if close else ""
        raise InputError(
            f"nothing to describe called '{name}'{hint} (`collapse describe` lists all there are)"
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


def _kinds() -> Iterator[Entry]:
    """Yield what a ``kind`` may be, and where a section is chosen without that key."""
    for slot in pkgutil.iter_modules(sections.__path__):
        for name, section in kinds(slot.name).items():
            keys = ", ".join(f"`{key}`" for key in section.model_fields if key != "kind")
            with_keys = (f"Keys: {keys}.",) if keys else ()
            yield Entry("kind", name, slot.name, (*_paragraphs(section), *with_keys))


def _data_sets() -> Iterator[Entry]:
    folder = importlib.import_module("collapse.data.sets")
    for each in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{folder.__name__}.{each.name}")
        yield Entry("data set", each.name, "", _paragraphs(module))


def _paragraphs(place: Any) -> tuple[str, ...]:
    """Return the paragraphs of a docstring in one line each."""
    return tuple(" ".join(part.split()) for part in re.split(r"\n\s*\n", _doc(place)))


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


def _of_study(name: str) -> Iterator[Entry]:
    """Yield a study, its figures, and the numbers that its closed forms predict."""
    study = studies.load(name)
    objective = f"Objective: {study.objective.removesuffix('.')}."
    figures = f"Figures: {', '.join(study.figures)}."
    yield Entry("study", name, "", (f"{study.paper}.", figures, objective))
    for figure, plot in study.figures.items():
        paragraphs = plot.caption, f"Reads {', '.join(plot.reads)}.", objective
        yield Entry("figure", figure, name, paragraphs)
    for prediction, texts in _predicted(name).items():
        yield Entry("prediction", prediction, name, (*dict.fromkeys(texts), objective))


def _predicted(study: str) -> dict[str, list[str]]:
    """Return what docstrings say of each number that the closed forms of a study predict."""
    module = f"collapse.theory.{study}"
    texts: dict[str, list[str]] = {}
    # A study need not have a closed form.
    theory = importlib.import_module(module) if find_spec(module) else None
    for function in (getattr(theory, each, None) for each in ("predict", "of_run")):
        for each in definitions(function):
            for name in each.names:
                texts.setdefault(name, []).extend(_said(each))
    return texts


def _said(of: Definition) -> list[str]:
    # Of several the text speaks in their order.
    names = f"{', '.join(of.names)}: " if len(of.names) > 1 else ""
    return [*filter(None, [of.context]), names + of.text, *of.notes]
