"""Grids: from lists of values at dotted config paths to runs with readable ids."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

LONGEST = 38
"""Bytes of a value in an id. Snakemake takes what ends in one text twenty times over, as a list of
equal numbers may, for a loop of rules."""

LONGEST_ID = 180
"""Bytes of an id: names of files are limited to 255, and locks and temporary files add to it."""

TIED = ("feature_decay", "backbone_decay")
"""Decays whose null means that they equal ``weight_decay``."""


def assign(config: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a nested config with the values of `point` set at its dotted paths."""
    result = deepcopy(dict(config))
    for path, value in point.items():
        *parents, last = path.split(".")
        node = result
        for parent in parents:
            node = node[parent]
        node[last] = value
    return result


def points(grid: Mapping[str, list]) -> Iterator[dict[str, Any]]:
    """Yield the points of a grid in order, the last key running fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def format_value(value: Any) -> str:
    """Spell a grid value for ids and columns: %g, lower-case booleans, lists joined by ``-``."""
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "-".join(format_value(item) for item in value)
    return str(value)


def short_keys(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a grid point by the last segments of its paths; lists become text."""
    return {
        path.rsplit(".", 1)[-1]: format_value(value) if isinstance(value, list | tuple) else value
        for path, value in point.items()
    }


def identifier(keys: Mapping[str, Any]) -> str:
    """Return the id of a point, ``depth=3+bias=false``; ``all`` when there is no key.

    A value longer than `LONGEST` is cut and ends in a digest of the whole, and so is an id longer
    than `LONGEST_ID`.
    """
    values = {key: format_value(value) for key, value in keys.items()}
    text = "+".join(f"{key}={_short(value, value, LONGEST)}" for key, value in values.items())
    return _short(text, repr(values), LONGEST_ID) or "all"


def _short(text: str, whole: str, longest: int) -> str:
    """Return a text of so many bytes at most: cut, it ends in a digest of what it stands for."""
    if len(text.encode()) <= longest:
        return text
    # Nine characters go to the mark and the digest.
    beginning = text.encode()[: longest - 9].decode(errors="ignore")
    return f"{beginning}~{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def tied(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with decays of null set to what they equal, ``weight_decay``."""
    # The default 0 stands for a config without the key, which is not null.
    same = {name: config["weight_decay"] for name in TIED if config.get(name, 0) is None}
    return {**config, **same}


def expand(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs of a job: id, keys in the grid's order, seed and resolved config of each.

    A group has ``config``, or those of its sections that the job reads, ``point``, ``grid``,
    ``order`` and ``seeds``. The seed runs fastest.
    """
    runs = []
    for inner, seed in itertools.product(points(group["grid"]), group["seeds"]):
        point = {path: (group["point"] | inner)[path] for path in group["order"]}
        keys = {**short_keys(point), "seed": seed}
        # A job need not read the sections that its runs differ in.
        values = {path: v for path, v in inner.items() if path.split(".")[0] in group["config"]}
        config = tied(assign(group["config"], values))
        runs.append({"id": identifier(keys), "keys": keys, "seed": seed, "config": config})
    return runs
