"""Reading and merging the config's files, and the one line that says what is wrong in which."""

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import yaml

from collapse.errors import InputError


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key given twice, of which YAML keeps the last, and a loop."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        # Each mapping as it is written: what `<<` brings along later may be overridden.
        node = super().compose_mapping_node(anchor)
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "key that is no word", key.start_mark
                )
            if key.value in keys:
                message = f"key {key.value!r} given twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            keys.add(key.value)
        return node

    # Deep: what nests in itself can only be made from parts that are empty at first.
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        return super().construct_mapping(node, deep=True)

    def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list:
        return super().construct_sequence(node, deep=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; raise InputError in one line where it is none."""
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {reason}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not in UTF-8 (byte {error.start + 1})") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML (nested too deeply)") from None
    # Not only YAML's own errors: what looks like a date need not be one, nor what is tagged so.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        if "integer string conversion" in reason:
            raise InputError(f"{path}: a number of more than 4,000 digits") from None
        raise InputError(f"{path}: not valid YAML ({reason})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: should be a mapping, found {type(content).__name__}")
    # Snakemake would take the file for a template, and run the Python in it.
    if "__use_yte__" in content:
        raise InputError(f"{path}: __use_yte__: found, allowed is YAML that is no template")
    return content


def _parsed(text: str) -> Any:
    """Return what a text says; what holds comments alone is an empty mapping."""
    if text.lstrip().startswith("{"):
        # Not all JSON is YAML: it may be indented by tabs.
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_pairs)
    loader = _Loader(text)
    node = loader.get_single_node()
    if node is None:
        return {}
    _check_size(node)
    return loader.construct_document(node)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} given twice")
    return content


def _check_size(node: yaml.Node) -> None:
    """Refuse what aliases and merges make too large to be held, before it is made."""
    values = _count(node, {})
    if values > MOST_VALUES:
        message = f"{values:.2g} values with aliases, allowed are {MOST_VALUES:g}"
        raise yaml.constructor.ConstructorError(None, None, message)


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return the number of nodes below one, of what aliases repeat as often as they do."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    # An alias leads to the node that it repeats. A node inside itself is refused where it is made.
    if id(node) not in counted:
        counted[id(node)] = 0
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [value for _, value in node.value]
        counted[id(node)] = 1 + sum(_count(part, counted) for part in parts)
    return counted[id(node)]


def check_settings(entries: Iterable[str]) -> None:
    """Refuse settings ``KEY=VALUE`` of a command line that give a key twice, at any depth.

    Raises
    ------
    InputError
        Names the key; mappings under one key that have none in common are merged.
    """
    given: set[tuple[str, ...]] = set()
    for entry in entries:
        key, _, text = entry.partition("=")
        try:
            node = yaml.compose(text, _Loader)
            if node is not None:
                _check_size(node)
            leaves = [(key, *rest) for rest in _leaves(node)]
        except yaml.constructor.ConstructorError as error:
            raise InputError(f"--config: {key}: {error.problem}") from None
        # Text that is no YAML is a value as it stands.
        except (yaml.YAMLError, RecursionError):
            leaves = [(key,)]
        for leaf in leaves:
            # A value in place of a mapping, or the other way round, is the same key.
            if any(leaf[: len(other)] == other[: len(leaf)] for other in given):
                raise InputError(f"--config: key '{'.'.join(leaf)}' given twice")
        given.update(leaves)


def _leaves(node: yaml.Node | None) -> Iterator[tuple[str, ...]]:
    """Yield the places of all values below a node that are no mapping."""
    if not isinstance(node, yaml.MappingNode):
        yield ()
        return
    for key, value in node.value:
        yield from ((key.value, *rest) for rest in _leaves(value))


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested configs: mappings key by key; lists, values and ``grid`` whole."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        # A mapping of another kind (mlp -> cnn) is another thing: its keys do not mix.
        same = both and value.get("kind", merged[key].get("kind")) == merged[key].get("kind")
        merged[key] = merge(merged[key], value) if same and key != "grid" else value
    return merged


def known(what: str, name: str, allowed: Iterable[str]) -> None:
    """Refuse a name that is not among the allowed ones, with the nearest that is.

    Raises
    ------
    InputError
        Names what is allowed.
    """
    allowed = sorted(map(str, allowed))
    if name not in allowed:
        close = difflib.get_close_matches(str(name), allowed, 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise InputError(f"no {what} '{name}'{hint} (there are: {', '.join(allowed)})")


MOST_VALUES = 1_000_000
"""In a config file; nested aliases can stand for more than any machine holds."""

LARGEST_BITS = 14_000
"""Of a whole number: what is larger Python refuses to print."""

LONGEST_NAME = 100
"""Bytes of a name of the user's, which files and folders get."""

_LOOP = re.compile(r"(.+)\1{19}$")


def fault_of_name(name: str) -> str | None:
    """Return what keeps a name from being that of an experiment or a data set, or None.

    Allowed are letters of any script, digits, ``_``, ``-`` and ``.``, the last two not in front.
    """
    # Marks are parts of letters: of an umlaut that is spelt as two characters, of vowels in Hindi.
    strange = [c for c in name if c not in "_-." and unicodedata.category(c)[0] not in "LM"]
    strange = [c for c in strange if unicodedata.category(c) != "Nd"]
    if not name or strange:
        found = f"{strange[0]!r} in a name" if strange else "an empty name"
        return f"{found}, allowed are letters, digits, '_', '-' and '.'"
    if name[0] in "-." or unicodedata.category(name[0])[0] == "M":
        return f"a name begins with {name[0]!r}, allowed is a letter, a digit or '_'"
    if len(name.encode()) > LONGEST_NAME:
        return f"a name of {len(name.encode())} bytes, allowed are {LONGEST_NAME}"
    # Snakemake would take it for a loop of rules.
    if _LOOP.search(name):
        return "a name that ends in one text twenty times over, allowed is one that does not"
    return None


class Layers:
    """The config's files in the order in which they are merged: origin and content of each.

    An origin is a file's path, or what to call the command line.

    Raises
    ------
    InputError
        If a key is no text: YAML reads ``1`` and ``on`` as something else.
    """

    def __init__(self, layers: list[tuple[str, Mapping[str, Any]]]) -> None:
        self._layers = layers
        for origin, content in layers:
            _check_content(origin, content)

    def merged(self) -> dict[str, Any]:
        """Return all of them merged."""
        result: dict[str, Any] = {}
        for _, content in self._layers:
            result = merge(result, content)
        return result

    def names(self, *place: str, last: bool = False) -> set[str]:
        """Return the keys at a place in any file, the last one (the user's) included or not."""
        keys: set[str] = set()
        for _, content in self._layers if last else self._layers[:-1]:
            for key in place:
                content = content.get(key) if isinstance(content, Mapping) else None
            keys |= set(content) if isinstance(content, Mapping) else set()
        return keys

    def check_name(self, *place: str) -> None:
        """Refuse a key that is the name of an experiment or a data set, but cannot be one."""
        message = fault_of_name(place[-1])
        if message:
            self.refuse(place, message)

    def refuse(
        self,
        place: tuple[str, ...],
        message: str,
        allowed: Iterable[str] | None = None,
        found: str | None = None,
    ) -> NoReturn:
        """Raise the one-line error, naming the last file that sets the key (or its section).

        The nearest of the `allowed` words is offered for the one `found`, by default the key.
        """
        hint = ""
        if allowed is not None:
            close = difflib.get_close_matches(str(found or place[-1]), list(allowed), 1)
            hint = f", did you mean '{close[0]}'?" if close else ""
            hint += f" (allowed: {', '.join(sorted(allowed))})"
        # A key that is missing or comes from a default is in no file, but its section may be.
        for length in range(len(place), 0, -1):
            for origin, content in reversed(self._layers):
                if _holds(content, place[:length]):
                    raise InputError(f"{origin}: {'.'.join(place)}: {message}{hint}")
        raise InputError(f"{self._layers[-1][0]}: {'.'.join(place)}: {message}{hint}")


def _check_content(origin: str, block: Any, where: tuple[str, ...] = ()) -> None:
    """Refuse keys that are no text, and numbers that Python itself will not print."""
    if isinstance(block, int) and block.bit_length() > LARGEST_BITS:
        raise InputError(f"{origin}: {'.'.join(where)}: a number of more than 4,000 digits")
    parts = block.items() if isinstance(block, Mapping) else ()
    parts = enumerate(block) if isinstance(block, list) else parts
    for key, value in parts:
        if isinstance(block, Mapping) and not isinstance(key, str):
            # Of a number it is said first if it is too long to be printed.
            _check_content(origin, key, where)
            place = ".".join([*where, str(key)])
            raise InputError(f"{origin}: {place}: a key should be text, found {key!r}")
        _check_content(origin, value, (*where, str(key)))


def _holds(content: Any, place: tuple[str, ...]) -> bool:
    for key in place:
        if not isinstance(content, Mapping) or key not in content:
            return False
        content = content[key]
    return True
