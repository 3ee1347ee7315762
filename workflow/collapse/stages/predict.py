"""What the closed form of a paper says for given hyperparameters, as JSON, without training."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
from collections.abc import Sequence
from textwrap import indent
from types import ModuleType
from typing import Any

import numpy as np

import collapse.theory
from collapse.errors import InputError
from collapse.theory.hyperparameters import describe, unknown
from collapse.theory.returned import section


def studies() -> list[str]:
    """Return the studies with a closed form: the modules of collapse.theory with a predict."""
    return [name for name in _modules() if hasattr(_load(name), "predict")]


def study(name: str) -> ModuleType:
    """Return the theory module of a study.

    Raises
    ------
    InputError
        No study of this name has a closed form.
    """
    if name in _modules() and hasattr(module := _load(name), "predict"):
        return module
    raise InputError(unknown("study with a closed form", name, studies()))


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(collapse.theory.__path__)]


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{collapse.theory.__name__}.{name}")


_BARE_POINT = re.compile(r"(?<![\w.\"])\.(?=\d)")
"""A decimal point without the digit before it that JSON wants, as in ``.5``."""


class _Study(argparse.Action):
    """Take the name of a study and let a ``--help`` that follows describe it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the name; raise InputError when no such study has a closed form."""
        name = str(values)
        module = study(name)
        setattr(namespace, self.dest, name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = f"{name}\n{describe(module.OBJECTIVE, module.KEYS)}{_printed(module)}"


def _printed(module: ModuleType) -> str:
    """Return what the docstring of a study's `predict` says of the values that it returns."""
    text = section(module.predict).replace("``", "")
    return f"\n\nprints:\n{indent(text, '  ')}" if text else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``collapse predict``; ``STUDY --help`` describes that study too."""
    # The study comes first: --set takes every word that follows it.
    parser.usage = "%(prog)s STUDY [-h] [--set KEY=VALUE ...]"
    parser.add_argument(
        "study",
        metavar="STUDY",
        action=_Study,
        help=f"one of {', '.join(studies())}; STUDY --help lists its hyperparameters, and what is "
        "printed",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="extend",
        nargs="+",
        default=[],
        help="a hyperparameter; VALUE is JSON, or a bare word",
    )


def run(args: argparse.Namespace) -> None:
    """Print the prediction for the study and hyperparameters as JSON."""
    module = study(args.study)
    prediction = module.predict(**parse_settings(args.settings))
    print(json.dumps(to_json(prediction), indent=2, allow_nan=False))


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the hyperparameters given as KEY=VALUE.

    Raises
    ------
    InputError
        A setting has no ``=`` or no key, or a key is given twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or not name:
            raise InputError(f"--set: found {setting!r}, allowed: KEY=VALUE")
        if name in values:
            raise InputError(f"--set {name}: given twice, allowed: once")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    """Return the JSON value; what is not JSON, such as a bare word, is a string."""
    try:
        return json.loads(_BARE_POINT.sub("0.", text), parse_constant=_reject)
    except (ValueError, RecursionError):
        return text


def _reject(constant: str) -> None:
    """Refuse NaN and Infinity, which are Python's and not JSON's."""
    raise ValueError(constant)


def to_json(value: Any) -> Any:
    """Return a value with plain Python types; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
