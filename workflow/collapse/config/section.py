"""Number types, the base of every config section, and what its validators raise."""

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _no_bool(value: Any) -> Any:
    # Pydantic takes `true` for 1, and in YAML `yes` and `on` are booleans too.
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a boolean")
    return value


def _whole(value: Any) -> Any:
    # In YAML `1e2` is text.
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() and "e" in value.lower() else value
    return _no_bool(value)


def _path(text: str) -> str:
    path = os.path.expanduser(text)
    # Behind an option it would be taken for another.
    return f"./{path}" if path.startswith("-") else path


Real = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Real, Field(gt=0)]
NonNegative = Annotated[Real, Field(ge=0)]
# Nobody waits for more; and what costs are computed from is a number that floats hold.
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10**12)]
# Far above what any machine holds: each layer is listed, each extent a dimension of a tensor.
Depth = Annotated[Count, Field(le=1000)]
Extent = Annotated[Count, Field(le=10**6)]
# As much as generators of random numbers take.
Seed = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10**12)]
Decays = NonNegative | Annotated[list[NonNegative], Field(min_length=1)]
Widths = Extent | Annotated[list[Extent], Field(min_length=1, max_length=1000)]
# Of the user's: a file or folder, in the home folder if it begins with ~.
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]


class Section(BaseModel):
    """Base of every config section: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def fault(key: str, message: str) -> PydanticCustomError:
    """Return the error of a section's validator about one of its keys."""
    return PydanticCustomError("fault", "{message}", {"key": key, "message": message})


def check_layers(key: str, values: float | list[float] | None, depth: int) -> None:
    """Refuse, at `key` of the section, a list that has not one value per layer."""
    if isinstance(values, list) and len(values) != depth:
        message = f"{len(values)} values found, allowed are one, or one per layer (depth {depth})"
        raise fault(key, message)


def check_tied(section: Section, *keys: str) -> None:
    """Refuse decays that equal `weight_decay` where that is a list."""
    for key in keys:
        if getattr(section, key) is None and isinstance(section.weight_decay, list):
            raise fault(key, "null found with a list of weight decays, allowed is a number")
