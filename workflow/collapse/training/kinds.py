"""The parts of a training that are looked up by their kind: losses, inputs and update rules."""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def load(part: str, section: Mapping[str, Any]) -> ModuleType:
    """Return the module of a section's kind.

    `part` is ``losses``, ``inputs`` or ``update_rules``: a package beside this module, whose
    docstring says what its modules offer. The module is named by text, not imported, so that the
    code digest of a job holds just those kinds that the job uses.
    """
    return import_module(f"{__package__}.{part}.{section['kind']}")
