"""Say what a run will cost before it begins, by experiment.

Runs, jobs that compute and measure (figures and the like take seconds), epochs or steps of a run at
most, time on CPU cores and on a GPU (- is less than three seconds), the memory of the largest job,
and the disk that all files take; of all experiments, done or not. Times follow from measured speeds
of one core and one H100: expect a factor of two either way, and a tenth or less of problems whose
solvers (`lbfgs`, `newton`, `flow`) stop where they have converged, long before their last step.
Jobs that want a GPU run on cores where there is none, four times as long or more.
"""

import argparse
from collections.abc import Iterator

from collapse.config import command_line
from collapse.config.experiment import Resources
from collapse.config.planning import Atlas

_HEADS = ("runs", "jobs", "length", "cores", "GPU", "memory", "disk")
_WIDTHS = (7, 6, 17, 10, 10, 9, 9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command_line.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    atlas = command_line.atlas(args)
    rows, everything, runs = [], [], 0
    for study, experiments in atlas.studies.items():
        for name, experiment in experiments.items():
            asked = list(_asked(atlas, study, name))
            count = len(atlas.runs(study, name))
            length = experiment.length()
            how_long = f"{length[0]:,} {length[1]}" if length else "-"
            rows.append((f"{study} {name}", *_row(count, how_long, asked)))
            everything += asked
            runs += count
    rows.append(("all", *_row(runs, "-", everything)))
    width = max(len(row[0]) for row in rows)
    for first, *cells in [(f"{atlas.scale} scale", *_HEADS), *rows]:
        columns = zip(cells, _WIDTHS, strict=True)
        print(first.ljust(width), *(f"{cell:>{size}}" for cell, size in columns))


def _asked(atlas: Atlas, study: str, name: str) -> Iterator[Resources]:
    """Yield what each job of an experiment asks for that computes or measures."""
    for group in atlas.groups(study, name).values():
        configs = [run.config for run in group.runs]
        data_set = atlas.data_set(configs[0])
        yield configs[0].resources(configs, data_set)
        if configs[0].measured_by_group:
            yield configs[0].measure_resources(configs, data_set)
    experiment = atlas.experiment(study, name)
    if not experiment.measured_by_group:
        configs = [run.config for run in atlas.runs(study, name)]
        yield experiment.measure_resources(configs, atlas.data_set(experiment))


def _row(runs: int, length: str, asked: list[Resources]) -> tuple[str, ...]:
    cores = sum(each.seconds * each.cores for each in asked if not each.gpus) / 60
    cards = sum(each.seconds for each in asked if each.gpus) / 60
    memory = max((each.memory for each in asked), default=0)
    disk = sum(each.disk for each in asked)
    sizes = (_minutes(cores), _minutes(cards), _size(memory), _size(disk))
    return (f"{runs:,}", f"{len(asked):,}", length, *sizes)


def _minutes(value: float) -> str:
    if value >= 600:
        return f"{value / 60:,.0f} h"
    return f"{value:,.1f} min" if value >= 0.05 else "-"


def _size(megabytes: float) -> str:
    return f"{megabytes / 1e3:,.1f} GB" if megabytes >= 1e3 else f"{megabytes:,.1f} MB"
