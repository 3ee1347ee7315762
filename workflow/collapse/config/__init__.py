"""The config as typed, frozen models, and its expansion into runs.

A study's file holds the paper's own values, a scale's file of that study what a smaller scale
reduces, and a user's config whatever they change. They are merged in that order, mappings key by
key, lists and ``grid`` whole; an experiment of null is left out. Every number is in the units of
the objective as the study prints it.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from collapse.artifacts import MARK
from collapse.config.experiments import parse, validate_experiment
from collapse.config.planning import Atlas, Run, plain
from collapse.config.reading import Layers, check_settings, known, read_yaml
from collapse.config.section import Count, FilePath, Section, Seed
from collapse.config.slots import kinds
from collapse.data import catalogue
from collapse.errors import InputError

__all__ = [
    "Atlas",
    "Run",
    "check_results",
    "check_settings",
    "load",
    "mark_results",
    "plain",
    "read_yaml",
]

FULL_SCALE = "paper"
"""The scale that reduces nothing: the studies' own values."""

RESERVED = frozenset(
    {"all", "benchmark", "benchmarks", "claims", "data", "figure", "figures", "logs", "moving"}
    | {"notebook", "notebooks", "picture", "policies", "policy", "precision", "predictions"}
    | {"compute", "measure", "measure_group", "reference", "reference_page", "solve"}
    | {"study_claims", "table", "train"}
)
"""Names of folders in the results and of rules: no study's."""


def _plain_folder(path: str) -> str:
    """Return the one spelling of a folder, which rules' patterns and commands hold as it is."""
    path = os.path.normpath(path)
    if path.startswith("-") or not path.isprintable() or set("{}") & set(path):
        raise ValueError("allowed is a folder without { and }, that does not begin with -")
    return path


class Settings(Section):
    """What the config says beside data sets and studies."""

    scale: str = Field(description="Scale to run at: a folder of config/scales, or `paper`.")
    first_seed: Seed = Field(0, description="First seed of every experiment; trials: 1000 and up.")
    results: Annotated[FilePath, AfterValidator(_plain_folder)] = Field(
        "results", description="Folder that results go to."
    )
    largest: Count = Field(10_000, description="Most runs that all experiments may have together.")


def load(folder: str | Path, user: Mapping[str, Any] | None = None, origin: str = "") -> Atlas:
    """Read, merge and validate the whole config.

    Parameters
    ----------
    folder
        The folder of ``config.yaml``, ``studies`` and ``scales``.
    user
        The user's config (``--configfile`` and ``--config``, already merged), which may name
        the scale.
    origin
        Where `user` came from, for messages.

    Raises
    ------
    InputError
        In one line: the file, the key, what was found and what is allowed.
    """
    folder, user = Path(folder), dict(user or {})
    base = read_yaml(folder / "config.yaml")
    studies = sorted(folder.glob("studies/*.yaml"))
    # Before the merge, to whose files the scale's belong.
    scale = user.get("scale", base.get("scale"))
    files = [folder / "config.yaml", *studies, *_scale_files(folder, scale, studies)]
    layers = Layers(
        [*((str(path), read_yaml(path)) for path in files), (origin or "--config", user)]
    )
    merged = layers.merged()
    # What is left of `merged` behind settings and data sets are the studies.
    settings = parse(
        Settings,
        {key: merged.pop(key) for key in Settings.model_fields if key in merged},
        layers,
        (),
    )
    _check_count(merged, settings.largest, layers)
    data_sets, sources = _data_sets(merged.pop("datasets", {}), layers)
    known_studies = {path.stem for path in studies}
    atlas = Atlas(
        **settings.model_dump(exclude={"largest"}),
        data_sets=data_sets,
        sources=sources,
        studies={
            study: _study(study, block, layers, data_sets, known_studies)
            for study, block in merged.items()
        },
    )
    atlas.check_references()
    return atlas


def _check_count(merged: Mapping[str, Any], largest: int, layers: Layers) -> None:
    """Refuse more runs than were asked for, before the first is made.

    What has not the form of an experiment counts nothing: it is refused in its own words.
    """
    counts = {
        (study, name): _count(block)
        for study, experiments in merged.items()
        if study != "datasets" and isinstance(experiments, Mapping)
        for name, block in experiments.items()
        if isinstance(block, Mapping)
    }
    total = sum(counts.values())
    if total > largest:
        most = max(counts, key=counts.get)
        # No more than `largest` itself may be.
        more = f": if you mean it, say so by `--config largest={total}`" if total < 1e12 else ""
        layers.refuse(
            most,
            f"{counts[most]:,} of {total:,} runs that the config expands to, allowed are "
            f"{largest:,}{more}",
        )


def _count(block: Mapping[str, Any]) -> int:
    lists = block.get("grid")
    values = lists.values() if isinstance(lists, Mapping) else ()
    lengths = [len(each) for each in values if isinstance(each, list)]
    try:
        return int(float(block.get("seeds", 0))) * math.prod(lengths)
    # Infinity too: it is refused in its own words.
    except (TypeError, ValueError, OverflowError):
        return 0


def _scale_files(folder: Path, scale: Any, studies: list[Path]) -> list[Path]:
    """Return the files of a scale, one for each study.

    A study that a scale does not mention would run at the paper's values by accident.
    """
    scales = {path.name for path in (folder / "scales").glob("*/")} | {FULL_SCALE}
    if not isinstance(scale, str):
        raise InputError(
            f"scale: should be a name, found {scale!r} (there are: {', '.join(sorted(scales))})"
        )
    known("scale", scale, scales)
    if scale == FULL_SCALE:
        return []
    files = [folder / "scales" / scale / path.name for path in studies]
    for path in files:
        if not path.is_file():
            raise InputError(
                f"{path}: no such file: say there what the {scale} scale reduces of "
                f"{path.stem}, or {path.stem}: {{}} for nothing"
            )
    return files


def _study(
    name: str, block: Any, layers: Layers, data_sets: Mapping, known_studies: set[str]
) -> dict:
    # A key that is no setting must be a study: here a misspelt setting is found, too.
    if name not in known_studies:
        layers.refuse(
            (name,), "no such study", known_studies | {"datasets", *Settings.model_fields}
        )
    if name in RESERVED:
        layers.refuse((name,), "is no name for a study, the workflow uses it itself")
    if not isinstance(block, Mapping):
        layers.refuse((name,), "should be a mapping of experiments")
    left_out = {experiment for experiment, content in block.items() if content is None}
    there = layers.names(name)
    for experiment in sorted(left_out - there):
        layers.refuse((name, experiment), "null found, but no such experiment to leave out", there)
    for experiment in block:
        layers.check_name(name, experiment)
    return {
        experiment: validate_experiment(content, layers, (name, experiment), data_sets)
        for experiment, content in block.items()
        if experiment not in left_out
    }


def _data_sets(blocks: Any, layers: Layers) -> tuple[dict[str, Any], dict[str, Section]]:
    """Return the data sets and where they come from: the project's own, and the user's tables."""
    if not isinstance(blocks, Mapping):
        layers.refuse(("datasets",), "should be a mapping of data sets")
    data_sets, sources = {name: catalogue.find(name) for name in catalogue.names()}, {}
    for name, block in blocks.items():
        layers.check_name("datasets", name)
        # A block with a table is a data set of the user's; any other says where ours come from.
        table = isinstance(block, Mapping) and "table" in block
        if table and name in catalogue.names():
            layers.refuse(
                ("datasets", name, "table"), f"{name} is not the user's: name the table otherwise"
            )
        if table:
            data_sets[name] = catalogue.Table(title=name)
        elif name not in data_sets:
            message = "no such data set, and no table of the user's"
            layers.refuse(("datasets", name), message, data_sets)
    for name, data_set in data_sets.items():
        section = kinds("source")[data_set.source]
        sources[name] = parse(section, blocks.get(name) or {}, layers, ("datasets", name))
        if isinstance(data_set, catalogue.Table):
            data_sets[name] = replace(data_set, train_count=sources[name].train_count)
    return data_sets, sources


def check_results(atlas: Atlas) -> None:
    """Refuse a folder of results that holds those of another scale, or of other seeds.

    Raises
    ------
    InputError
        Names both, and the ways to keep or to replace what is there; or a file that does not say
        what it holds, or is in the place of a folder.
    """
    mark = Path(atlas.results, MARK)
    if mark.parent.exists() and not mark.parent.is_dir():
        raise InputError(f"results: {atlas.results} found, which is a file, allowed is a folder")
    if mark.exists() and not mark.is_file():
        raise InputError(f"{mark}: a folder in place of a file, move it away")
    content = mark.read_text("utf-8", "replace").strip() if mark.exists() else _mark(atlas)
    if not re.fullmatch(r"scale \S+(, seeds from \d+)?", content):
        raise InputError(
            f"{mark}: damaged, allowed is a line such as `{_mark(atlas)}`: write that of the "
            "results here, or delete it to let others replace them"
        )
    if content != _mark(atlas):
        raise InputError(
            f"{atlas.results} holds results of {content}, not of {_mark(atlas)}: "
            f"`--config results=FOLDER` puts these elsewhere, `rm {mark}` lets them replace those"
        )
    _check_folders(atlas)


def _check_folders(atlas: Atlas) -> None:
    """Refuse a file in the place of a folder of the results, which Snakemake would stumble over."""
    experiments = [(study, name) for study, names in atlas.studies.items() for name in names]
    computed = [*atlas.studies, *map("/".join, experiments)]
    figures = (f"figures/{name}" for name in ("", *atlas.studies))
    logs = (f"logs/{name}" for name in ("", *computed))
    for name in ("claims", "data", "moving", "notebooks", *computed, *figures, *logs):
        place = Path(atlas.results, name)
        if place.exists() and not place.is_dir():
            raise _in_place_of_folder(place)
    for root in (Path(atlas.results), Path(atlas.results, "logs")):
        for study, name in experiments:
            _check_groups(root / study / name, atlas, study, name)


def _check_groups(folder: Path, atlas: Atlas, study: str, name: str) -> None:
    files = [] if not folder.is_dir() else sorted(p for p in folder.iterdir() if not p.is_dir())
    for place in files:
        # Groups may be many: they are asked for only where a file is none of an experiment's own.
        own = place.suffix in (".parquet", ".json", ".log")
        if not own and place.name in atlas.groups(study, name):
            raise _in_place_of_folder(place)


def _in_place_of_folder(place: Path) -> InputError:
    return InputError(f"{place}: a file where the results have a folder, move it away")


def mark_results(atlas: Atlas) -> None:
    """Note in the folder of results which scale and seeds it holds."""
    folder = Path(atlas.results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(_mark(atlas) + "\n", encoding="utf-8")


def _mark(atlas: Atlas) -> str:
    seeds = f", seeds from {atlas.first_seed}" if atlas.first_seed else ""
    return f"scale {atlas.scale}{seeds}"
