"""What the data stage is told, checked."""

from collections.abc import Mapping
from typing import Any

from collapse.errors import InputError

LARGEST = 2**63
"""Numbers are below it: seeds beyond are none."""


def required(spec: Mapping[str, Any], **kinds: Any) -> list[Any]:
    """Return the values of keys, each of its kind, numbers from 0 on.

    Raises
    ------
    InputError
        Names the first key whose value is missing, of another kind, or no such number.
    """
    for key, kind in kinds.items():
        value = spec.get(key)
        # NaN is in no range.
        in_range = not isinstance(value, int | float) or 0 <= value < LARGEST
        if not isinstance(value, kind) or not in_range:
            raise InputError(f"--spec: {key} is {value!r:.60} (see `collapse data --help`)")
    return [spec.get(key) for key in kinds]
