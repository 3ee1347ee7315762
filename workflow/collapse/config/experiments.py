"""From merged blocks to validated experiments, and the errors on the way."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from collapse import grid
from collapse.config.experiment import Experiment
from collapse.config.reading import Layers
from collapse.config.section import Section
from collapse.config.slots import kinds
from collapse.data.catalogue import DataSet
from collapse.grid import TIED

TABLE_COLUMNS = ("seed", "step", "layer", "metric", "value", "probe")
"""Columns that tables have beside those of the grid."""

_NO_GRID: Mapping[str, list] = {}


def validate_experiment(
    block: Any, layers: Layers, where: tuple[str, str], data_sets: Mapping[str, DataSet]
) -> Experiment:
    """Return the experiment that a merged block describes, valid at every point of its grid.

    `where` is study and experiment; `layers`, the files that the block was merged from, say in an
    error which of them is wrong.

    Raises
    ------
    InputError
        In one line: the file, the key, what was found and what is allowed.
    """
    if not isinstance(block, Mapping):
        layers.refuse(where, "should be a mapping")
    procedure = _procedure(block, layers, where)
    lists = block.get("grid") or {}
    base = {key: value for key, value in block.items() if key != "grid"}
    _check_grid(procedure, base, lists, layers, where)
    # The base alone need not be valid (a grid may supply a value); every point must be.
    experiments = [
        (point, parse(procedure, grid.assign(base, point), layers, where, lists))
        for point in grid.points(lists)
    ]
    for _, experiment in experiments:
        if experiment.data_set is None:
            continue
        if experiment.data_set not in data_sets:
            layers.refuse((*where, "data", "name"), "no such data set", data_sets)
        for key, message in experiment.misfits(data_sets[experiment.data_set]):
            layers.refuse(_swept(where, key, lists), message)
    values = {
        path: [_value_at(experiment, path, point) for point, experiment in experiments]
        for path in lists
    }
    # The grid as the sections read it; by their text, as lists cannot be put into a set.
    distinct = {path: list({repr(v): v for v in values[path]}.values()) for path in lists}
    for path, read in distinct.items():
        for message in _alike(read, len(lists[path])):
            layers.refuse((*where, "grid", path), message)
    # Any point serves for the rest: `resolve` sets the grid's values anew at each.
    return experiments[0][1].model_copy(update={"grid": distinct})


def _procedure(block: Mapping, layers: Layers, where: tuple[str, str]) -> type[Experiment]:
    """Return the section of the procedure that a block names, or shows by one of its keys."""
    procedures: dict[str, type[Experiment]] = kinds("procedure")
    if "procedure" in block:
        name = block["procedure"]
        if not isinstance(name, str) or name not in procedures:
            layers.refuse((*where, "procedure"), f"no procedure {name!r}", procedures, name)
        return procedures[name]
    for section in procedures.values():
        if section.signature in block:
            return section
    # None is recognised. Say the most useful thing: a misspelt key, else what would show one, else
    # let the procedure that shares most keys say which of its own is missing.
    fields = {field for section in procedures.values() for field in section.model_fields}
    for key in block:
        if key not in fields:
            layers.refuse((*where, key), "unknown key", fields)
    shared = set.intersection(*(set(section.model_fields) for section in procedures.values()))
    nearest = max(
        procedures.values(), key=lambda section: len(set(block) & set(section.model_fields))
    )
    if not set(block) - shared:
        marks = [f"`{section.signature}`" for section in procedures.values() if section.signature]
        message = f"is no experiment: it has none of {', '.join([*sorted(marks), '`procedure`'])}"
        layers.refuse(where, message, layers.names(where[0]))
    return nearest


def _check_grid(
    procedure: type[Experiment], base: dict, lists: Any, layers: Layers, where: tuple[str, str]
) -> None:
    place = (*where, "grid")
    if not isinstance(lists, Mapping):
        layers.refuse(place, "should be a mapping of lists")
    for path, values in lists.items():
        for message in _faults_of_values(path, values):
            layers.refuse((*place, path), message)
        if path == "data.name":
            layers.refuse((*place, path), "an experiment has one data set")
        allowed = set(procedure.model_fields) - {
            "grid",
            "seeds",
            "first_seed",
            "procedure",
            "probes",
        }
        if path.split(".")[0] not in allowed or not _has_parent(base, path):
            layers.refuse((*place, path), "is not a key of this experiment", allowed)
    # Columns are called by the last part of a path: two paths may end alike.
    names = {path: path.rsplit(".", 1)[-1] for path in lists}
    columns = [*TABLE_COLUMNS, *names.values()]
    for path, name in names.items():
        if columns.count(name) > 1:
            layers.refuse((*place, path), f"two columns of a table would be called '{name}'")


def _faults_of_values(path: str, values: Any):
    """Yield what is wrong with the list of a grid."""
    if not isinstance(values, list) or not values:
        yield "should be a list of at least one value"
    elif any(isinstance(value, Mapping) for value in values):
        yield "should hold values, not sections"
    elif None in values and path in TIED:
        yield "null among others, allowed are numbers: null equals weight_decay"
    elif len({isinstance(value, list) for value in values if value is not None}) > 1:
        yield "should hold either lists or single values: they share a column"


def _alike(values: list, given: int) -> Iterator[str]:
    """Yield what is wrong with the distinct values of a grid, read of so many given ones.

    One written in two ways, as 0.01 and the text `1e-2`, and those whose runs would have one name.
    """
    if len(values) < given:
        yield "has the same value twice"
    names: dict[str, Any] = {}
    for value in values:
        other = names.setdefault(grid.format_value(value), value)
        if other is not value:
            name = grid.format_value(value)
            found = f"{other!r} and {value!r} found, both {name} in names of folders"
            yield f"{found}; allowed are numbers that differ in their first six digits"


def _has_parent(base: Mapping, path: str) -> bool:
    node: Any = base
    for parent in path.split(".")[:-1]:
        node = node.get(parent) if isinstance(node, Mapping) else None
    return isinstance(node, Mapping)


def _value_at(experiment: Section, path: str, point: Mapping[str, Any]) -> Any:
    """Return the value at a dotted path as it was read: ``1e-3`` in YAML is text, here a number."""
    value: Any = experiment.model_dump(mode="json")
    for key in path.split("."):
        value = value[key]
    # A section that was given by the name of its kind is called by it.
    return point[path] if isinstance(value, Mapping) else value


def _swept(where: tuple[str, ...], key: tuple[str, ...], lists: Mapping) -> tuple[str, ...]:
    """Return the place of an experiment's key: in its grid where that supplies the value."""
    dotted = ".".join(key) + "."
    path = next((path for path in lists if dotted.startswith(f"{path}.")), None)
    return (*where, "grid", path) if path else (*where, *key)


def parse(
    model: type[Section],
    block: Any,
    layers: Layers,
    where: tuple[str, ...],
    lists: Mapping[str, list] = _NO_GRID,
) -> Any:
    """Return a section, or refuse its first fault in one line.

    `lists` is the grid whose values are set in `block`: a fault of one of them is the grid's.

    Raises
    ------
    InputError
        Names the file, the key, what was found and what is allowed.
    """
    try:
        return model.model_validate(block)
    except ValidationError as error:
        # Of a union's branches, the one that got furthest is the one that was meant; a key that is
        # unknown says more than one that is missing.
        problem = max(
            error.errors(), key=lambda e: (len(_place(e, block)), e["type"] == "extra_forbidden")
        )
    key = _place(problem, block)
    place = _swept(where, key, lists)
    if problem["type"] == "extra_forbidden":
        fields = _section_at(model, block, key[:-1]).model_fields
        layers.refuse(place, "unknown key", fields, key[-1])
    if problem["type"] == "missing":
        field = _section_at(model, block, key[:-1]).model_fields.get(key[-1])
        what = f": {field.description}" if field and field.description else ""
        layers.refuse(place, f"is missing{what}")
    if problem["type"] == "union_tag_not_found":
        layers.refuse((*place, "kind"), "is missing")
    if problem["type"] == "union_tag_invalid":
        kinds_there = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        tag = problem["ctx"]["tag"]
        layers.refuse((*place, "kind"), f"no kind {tag!r}", kinds_there, tag)
    message = problem["msg"].removeprefix("Value error, ")
    detail = "" if isinstance(problem["input"], Mapping) else f", found {problem['input']!r}"
    layers.refuse(place, message[0].lower() + message[1:] + detail)


def _place(problem: Mapping[str, Any], block: Any) -> tuple[str, ...]:
    """Return the path of a validation error in the config, the tags of unions left out."""
    place = []
    for part in problem["loc"]:
        if isinstance(block, Mapping) and part in block:
            block = block[part]
        elif isinstance(block, list) and isinstance(part, int):
            block = block[part]
        elif not (problem["type"] == "missing" and part == problem["loc"][-1]):
            # Pydantic's own: the tag of a union, or the name of a type in it.
            continue
        place.append(str(part))
    if problem["type"] == "fault":
        place.append(problem["ctx"]["key"])
    return tuple(place)


def _section_at(model: type[Section], block: Any, parents: tuple[str, ...]) -> type[Section]:
    """Return the section at `parents`, following the kinds of slots."""
    for parent in parents:
        if isinstance(block, list):
            block = block[int(parent)]
        else:
            block = block[parent]
            sections = _sections(model.model_fields[parent].annotation)
        if isinstance(block, Mapping):
            candidates = (s for s in sections if _kind(s) == block.get("kind"))
            model = next(candidates, sections[0])
    return model


def _sections(annotation: Any) -> list[type[Section]]:
    """Return the sections among which a field's type chooses."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in getattr(annotation, "__args__", ()) for section in _sections(part)]


def _kind(section: type[Section]) -> str | None:
    field = section.model_fields.get("kind")
    return field.annotation.__args__[0] if field else None
