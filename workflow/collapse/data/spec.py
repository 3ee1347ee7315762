"""What the data stage is told, checked."""

from collections.abc import Mapping
from typing import Any

from collapse.errors import InputError


def required(spec: Mapping[str, Any], **kinds: Any) -> list[Any]:
    """Return the values of keys, each of its kind.

    Raises
    ------
    InputError
        Names the first key whose value is missing or of another kind.
    """
    for key, kind in kinds.items():
        if not isinstance(spec.get(key), kind):
            raise InputError(f"--spec: {key} is {spec.get(key)!r} (see `collapse data --help`)")
    return [spec.get(key) for key in kinds]
