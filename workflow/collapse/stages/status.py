"""Say what of a run is done, running, waiting and failed, by experiment.

Of running jobs it says the step, loss, speed and time left, of failed ones the last line of the log
and where it is. Give the options that the run was started with. A job is running if it gave a sign
of life within a minute, on whatever machine; one that ended without a word counts as failed. The
exit code is 1 if any failed.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from collapse import monitor
from collapse.config import command_line
from collapse.config.planning import Atlas
from collapse.heartbeat import FRESH

_EVERY = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    command_line.add_arguments(parser)
    parser.add_argument(
        "--watch",
        action="store_true",
        help="look again every ten seconds until all is done, or what failed keeps the rest",
    )


def run(args: argparse.Namespace) -> int:
    """Print the state once, or until nothing goes on any more; return the exit code."""
    atlas, before, since = command_line.atlas(args), None, 0.0
    while True:
        sections = monitor.sections(atlas)
        text = "\n".join(_lines(atlas, sections))
        if args.watch and sys.stdout.isatty():
            # The cursor to the corner, and the rest of the screen away.
            text = f"\033[H\033[J{text}"
        print(text, flush=True)
        total = _total(sections)
        if total != before:
            before, since = total, time.monotonic()
        # A driver that goes on begins something within a minute.
        stands = total["failed"] and not total["running"] and time.monotonic() - since > FRESH
        if not args.watch or stands or not sum(total.values()) - total["done"]:
            return int(total["failed"] > 0)
        time.sleep(_EVERY)


def _total(sections: list[monitor.Section]) -> dict[str, int]:
    return {state: sum(each.jobs[state] for each in sections) for state in monitor.STATES}


def _lines(atlas: Atlas, sections: list[monitor.Section]) -> Iterator[str]:
    """Yield a table, then what runs, what failed and what diverged."""
    names = {id(each): f"{each.study} {each.name}".strip() for each in sections}
    width = max(map(len, names.values()))
    yield f"{atlas.results}, {atlas.scale} scale"
    yield f"{'':{width}}" + "".join(f"{state:>9}" for state in monitor.STATES)
    for each in sections:
        counts = (f"{each.jobs[state] or '-':>9}" for state in monitor.STATES)
        yield f"{names[id(each)]:{width}}" + "".join(counts)
    total = _total(sections)
    yield f"{'all':{width}}" + "".join(f"{total[state] or '-':>9}" for state in monitor.STATES)
    for each in sections:
        for said in each.running:
            how = _clean(said.get("progress") or "begun")
            yield f"running  {_name(atlas, said)}: {how}, {_where(said)}"
    for each in sections:
        for said in each.failed:
            yield f"failed   {_name(atlas, said)}: {_reason(said)}\n         {said['log']}"
    for each in sections:
        for said in each.begun:
            yield f"waiting  {_name(atlas, said)}: {_clean(said['waits'])}, {_where(said)}"
    if blocked := sum(each.blocked for each in sections):
        yield f"blocked  {blocked} of those that wait stand on what failed"
    for each in sections:
        if each.diverged:
            yield f"diverged {each.diverged}"


def _name(atlas: Atlas, said: dict[str, Any]) -> str:
    """Return a job's name: the path of its log in the folder of logs."""
    return str(said["log"].relative_to(f"{atlas.results}/logs").with_suffix(""))


def _where(said: dict[str, Any]) -> str:
    job = f", SLURM job {said['slurm_job']}" if said.get("slurm_job") else ""
    return _clean(f"process {said.get('process')} on {said.get('host')}{job}")


def _clean(text: Any) -> str:
    """Return what others wrote as one line of moderate length that does nothing to a terminal."""
    return "".join(each if each.isprintable() else "?" for each in str(text))[:500]


def _reason(said: dict[str, Any]) -> str:
    """Return the last line of a job's log, and that it was killed, if it was."""
    try:
        text = said["log"].read_text(encoding="utf-8", errors="replace")
        # A bar is drawn anew in its line.
        last = next((line for line in reversed(text.split("\n")) if line.strip()), "")
    except OSError:
        last = "(no log)"
    last = _clean(last.rstrip("\r").split("\r")[-1])
    if said["state"] == "failed":
        return last
    return f"ended without a word {said['age']:.0f} s ago or more, {_where(said)}; {last}"
