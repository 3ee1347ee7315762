"""Slots of the config: places whose section has a ``kind``, one module a kind in the slot's folder.

A slot's union is built from what its folder `collapse.config.sections.SLOT` holds: a new kind is
a new module there, with one class ``Section``, and beside it the code of that name in the package
that the slot's ``IMPLEMENTATIONS`` names. Nothing lists the kinds.
"""

import pkgutil
from collections.abc import Iterator
from functools import cache, reduce
from importlib import import_module
from operator import or_
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from collapse.config.section import Section

_SECTIONS = "collapse.config.sections"


def _folder(slot: str) -> ModuleType:
    return import_module(f"{_SECTIONS}.{slot}")


@cache
def kinds(slot: str) -> dict[str, type[Section]]:
    """Return the sections of a slot by the name of their module."""
    folder = _folder(slot)
    return {
        module.name: import_module(f"{folder.__name__}.{module.name}").Section
        for module in pkgutil.iter_modules(folder.__path__)
    }


def slot(name: str) -> Any:
    """Return the type of a field that holds one of the slot's kinds.

    ``mse`` is short for ``{kind: mse}``.
    """
    sections = list(kinds(name).values())
    union: Any = sections[0]
    # A union of one is no union to pydantic, which would refuse the discriminator.
    if len(sections) > 1:
        union = Annotated[reduce(or_, sections), Field(discriminator="kind")]
    return Annotated[union, BeforeValidator(_spelt_out)]


def slot_list(name: str) -> Any:
    """Return the type of a field that holds some of the slot's kinds, each with one setting."""
    return Annotated[list[slot(name)], AfterValidator(_of_one_setting)]


def _of_one_setting(sections: list[Section]) -> list[Section]:
    # Rows of both would bear the same names.
    first: dict[str, Section] = {}
    for section in sections:
        if first.setdefault(section.kind, section) != section:
            raise ValueError(f"allowed is one setting of each kind, {section.kind} has another")
    return sections


def _spelt_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def implementation(section: Section) -> str | None:
    """Return the module with the code of a section's kind; None of a section without kinds."""
    # By the module, not by the key `kind`, which sections of sources and procedures do not have.
    package, _, kind = type(section).__module__.rpartition(".")
    if not package.startswith(f"{_SECTIONS}."):
        return None
    return f"{import_module(package).IMPLEMENTATIONS}.{kind}"


def nested(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Section]]:
    """Yield a section and all sections in it, with their paths."""
    if isinstance(value, Section):
        yield path, value
        for name in type(value).model_fields:
            yield from nested(getattr(value, name), (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nested(item, (*path, str(index)))
