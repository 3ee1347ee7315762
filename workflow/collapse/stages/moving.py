"""Make the moving picture of a study: a page, and a GIF, of the recorded states of a run."""

import argparse
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from collapse.artifacts import replacing, write_digests, write_sidecar
from collapse.grid import format_value
from collapse.moving_gif import gif
from collapse.moving_page import page
from collapse.plotting import paper_style
from collapse.specs import Spec
from collapse.studies import load, read_results
from collapse.studies.moving import Film, along, of_run, places
from collapse.upstream import RecordedStates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--page", required=True, metavar="FILE", help="html to write")
    parser.add_argument("--gif", required=True, metavar="FILE", help="GIF to write")


def run(args: argparse.Namespace) -> None:
    """Make the moving picture."""
    film = _film(args.spec)
    with replacing(args.page) as temporary:
        temporary.write_text(page(film), encoding="utf-8")
    with replacing(args.gif) as temporary, paper_style():
        temporary.write_bytes(gif(film))
    for path in (args.page, args.gif):
        write_sidecar(path)
    write_digests((args.page, args.gif), args.spec.provenance())


def _film(spec: Spec) -> Film:
    """Return what the states of the run show."""
    told, study = spec.job, load(spec.job["study"])
    (path,) = spec.reads["states"]
    recorded = RecordedStates(path)
    record = recorded.run(told["run"])
    # Of no step it is asked for the last, which it refuses.
    states = [recorded.at(told["run"], step) for step in record["steps"] or [None]]
    tables = {Path(path).stem: path for path in spec.reads["tables"]}
    shown = of_run(read_results(tables, told["config"]), told["keys"])
    module = import_module(f"collapse.studies.{told['study']}.moving")
    return Film(
        heading=_heading(told, record["diverged_at"]),
        clock=told["clock"],
        places=places(shown, told["clock"], record["steps"]),
        scene=module.scene(states, shown),
        curves=along(shown, study.moving.curves, record["steps"]),
        caption=f"{study.moving.caption} Objective: {study.objective}.",
    )


def _heading(told: Mapping[str, Any], diverged_at: int | None) -> str:
    """Return which run is shown."""
    keys = ", ".join(f"{key} = {format_value(value)}" for key, value in told["keys"].items())
    lost = "" if diverged_at is None else f", diverged at step {diverged_at}"
    return f"{told['study']}, {told['shown']}: {keys}{lost}"
