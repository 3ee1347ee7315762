"""What a closed form takes: named hyperparameters, their kinds, checks and description."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from collapse.errors import InputError

# An object of its own: None is a default, of what may be left out.
REQUIRED = object()
"""The default of a hyperparameter that has none."""


@dataclass(frozen=True)
class Kind:
    """The values that a hyperparameter may take.

    Attributes
    ----------
    allowed : str
        What is allowed, as a phrase for messages and help.
    parse : callable
        Returns the value in its canonical Python type; raises ValueError for any other.
    """

    allowed: str
    parse: Callable[[Any], Any]


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter of a closed form.

    Attributes
    ----------
    kind : Kind
        The values it may take.
    description : str
        One line with the units; says what absence means where the default is None.
    default : object
        ``REQUIRED``, None (may be left out) or the value taken when it is left out.
    """

    kind: Kind
    description: str
    default: Any = REQUIRED


def number(low: float, high: float = math.inf, closed: bool = False) -> Kind:
    """Return the kind of a finite number in the open or closed interval from low to high."""

    def parse(value: Any) -> float:
        # In Python a bool is a number.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError
        try:
            result = float(value)
        # An integer of more than 308 digits.
        except OverflowError:
            raise ValueError from None
        inside = low <= result <= high if closed else low < result < high
        if not (math.isfinite(result) and inside):
            raise ValueError
        return result

    brackets = "[]" if closed else "()"
    return Kind(f"a finite number in {brackets[0]}{low:g}, {high:g}{brackets[1]}", parse)


def integer(low: int, high: int) -> Kind:
    """Return the kind of an integer from low to high, both included."""

    def parse(value: Any) -> int:
        # NumPy's integers are `Integral` too; a float is refused even where it is whole.
        if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
            raise ValueError
        return int(value)

    return Kind(f"an integer from {low} to {high}", parse)


def boolean() -> Kind:
    """Return the kind of true and false."""

    def parse(value: Any) -> bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError
        return bool(value)

    return Kind("true or false", parse)


def choice(*names: str) -> Kind:
    """Return the kind of one of the given words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return Kind(" or ".join(names), parse)


def list_of(kind: Kind, at_least: int = 1) -> Kind:
    """Return the kind of a list of at least so many values of one kind."""

    def parse(value: Any) -> list:
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise ValueError
        return [kind.parse(item) for item in value]

    return Kind(f"a list of at least {at_least}, each {kind.allowed}", parse)


def one_or_list(kind: Kind) -> Kind:
    """Return the kind of a single value, or a list of values, of one kind."""
    several = list_of(kind)

    def parse(value: Any) -> Any:
        return several.parse(value) if isinstance(value, list | tuple) else kind.parse(value)

    return Kind(f"{kind.allowed}, or a list of these", parse)


def parse(keys: Mapping[str, Hyperparameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyperparameters against their description and fill in defaults.

    ``keys`` say what the closed form takes, ``given`` are the values by name. Returns a value for
    every name in ``keys``; None for what may be left out and was.

    Raises
    ------
    InputError
        A name is unknown, a required one is missing or a value is not of its kind.
    """
    for name in given:
        if name not in keys:
            raise InputError(unknown("hyperparameter", name, keys))
    values = {}
    for name, key in keys.items():
        if name in given:
            values[name] = _parse_one(name, key.kind, given[name])
        elif key.default is REQUIRED:
            raise InputError(f"{name}: missing, allowed: {key.kind.allowed}")
        else:
            values[name] = key.default
    return values


def _parse_one(name: str, kind: Kind, value: Any) -> Any:
    try:
        return kind.parse(value)
    except ValueError:
        raise InputError(f"{name}: found {shown(value)}, allowed: {kind.allowed}") from None


def shown(value: Any) -> str:
    """Return a value as the user would write it, in one short line."""
    # As JSON, the notation of the command line; an object of any other type by its `repr`.
    text = json.dumps(value, default=repr)
    # An error is one line, whatever was passed.
    return text if len(text) <= 60 else text[:57] + "..."


def unknown(what: str, name: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return the message for a name that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {what} {shown(name)}{hint}, allowed: {', '.join(known)}"


def check_range(prediction: Mapping[str, object]) -> None:
    """Refuse a prediction that holds a number beyond double precision; None is allowed.

    Raises
    ------
    InputError
        A value is infinite or not a number.
    """
    for name, value in prediction.items():
        if value is not None and not np.all(np.isfinite(value)):
            raise InputError(
                f"weight_decay, feature_decay: found decays with which {name} leaves the range of"
                " double precision, allowed: less extreme ones"
            )


def describe(objective: str, keys: Mapping[str, Hyperparameter]) -> str:
    """Return the help of a closed form: its objective, then every key with kind and default."""
    lines = ["objective:", f"  {objective}", "", "keys:"]
    for name, key in keys.items():
        lines.append(f"  {name} ({_default(key.default)})")
        lines.append(f"      {key.description}")
        lines.append(f"      allowed: {key.kind.allowed}")
    return "\n".join(lines) + "\n"


def _default(default: Any) -> str:
    if default is REQUIRED:
        return "required"
    # A word without the quotation marks of JSON, as it is written on the command line.
    return "optional" if default is None else f"default {shown(default).strip(chr(34))}"
