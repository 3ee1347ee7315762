"""What is known of a data set before it is made, and how the data sets are found.

Nothing lists them: each is a module of `collapse.data.sets`, whose constant ``SET`` says what is
known of it. Modules are loaded by name, so that no data set depends on another.
"""

import difflib
import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, TypeVar

from collapse.data import makers, sets
from collapse.errors import InputError


@dataclass(frozen=True)
class DataSet:
    """What every data set says of itself; its kind, a class in `collapse.data.kinds`, adds to it.

    Attributes
    ----------
    source
        The kind: the name of the modules that make it (in `collapse.data.makers`) and that hold
        its section of the config (in ``config/sections/source``).
    title
        Its name in figures.
    classes
        Class names in label order; none of a regression.
    image_shape
        Channels, height, width of labelled samples; F x 1 x 1 for a table of F inputs.
    """

    source: ClassVar[str]

    title: str
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None

    @property
    def maker(self) -> str:
        """The module that makes it."""
        return f"{makers.__name__}.{self.source}"

    @property
    def regression(self) -> bool:
        """Whether its targets are real numbers instead of labels."""
        return not self.classes

    @property
    def images(self) -> bool:
        """Whether its samples are images, instead of the rows of a table."""
        return self.image_shape is not None and self.image_shape[1:] != (1, 1)


@dataclass(frozen=True)
class Table(DataSet):
    """A table of the user's: it has no module, all that is known of it is in the config.

    Attributes
    ----------
    train_count
        About how many rows are trained on, as far as its file says.
    """

    source: ClassVar[str] = "table"

    train_count: int | None = None


Kind = TypeVar("Kind", bound=DataSet)


def names() -> list[str]:
    """Return the names of all data sets, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(sets.__path__))


def find(name: str, kind: type[Kind] = DataSet) -> Kind:
    """Return what is known of a data set, which must be of `kind`.

    Raises
    ------
    InputError
        If there is no such data set, its module has no ``SET``, or that is of another kind.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise InputError(f"no data set '{name}'{hint} (there are: {', '.join(names())})")
    module = import_module(f"{sets.__name__}.{name}")
    data_set = getattr(module, "SET", None)
    if not isinstance(data_set, kind):
        raise InputError(f"{module.__file__}: SET is {data_set!r}, needed is a {kind.__name__}")
    return data_set


def modules(kind: str, name: str) -> tuple[str, ...]:
    """Return the modules whose code decides what a data set holds, beside all that they import."""
    # A table of the user's has no module.
    set_modules = (f"{sets.__name__}.{name}",) if name in names() else ()
    return f"{makers.__name__}.{kind}", *set_modules
