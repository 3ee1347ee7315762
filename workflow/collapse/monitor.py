"""How far a run is: of every job whether it is done, running, waiting or failed.

What is done the files themselves say, as Snakemake will find them; what runs and what failed the
jobs' heartbeats. Nothing is asked of a server.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapse import divergence, heartbeat, jobs
from collapse.artifacts import bytes_digest, stored_digest, stored_provenance
from collapse.config import check_results
from collapse.config.planning import Atlas
from collapse.errors import InputError
from collapse.jobs import Job

STATES = ("done", "running", "waiting", "failed")


@dataclass
class Section:
    """The jobs of an experiment, or the rest of a study.

    Attributes
    ----------
    study, name
        Of the experiment.
    jobs
        How many are in each state.
    running, failed
        Of each such job what its heartbeat says.
    begun
        The same of those that wait, but are begun: for a GPU, or for another process.
    blocked
        How many of those that wait stand on one that failed.
    diverged
        The line about runs that diverged, if there are any.
    """

    study: str
    name: str
    jobs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    running: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    begun: list[dict[str, Any]] = field(default_factory=list)
    blocked: int = 0
    diverged: str | None = None


def sections(atlas: Atlas) -> list[Section]:
    """Return the state of all jobs of the plain call, data sets first, then study by study.

    Raises
    ------
    InputError
        If the results are of another scale.
    """
    check_results(atlas)
    files = files_of(atlas)
    look = _Look(atlas, files)
    found: dict[tuple[str, str], Section] = {}
    for job in sorted(files, key=lambda job: _order(atlas, job)):
        place = _place(job)
        section = found.setdefault(place, Section(*place))
        state, said = look.state(job)
        section.jobs[state] += 1
        if state == "waiting" and said:
            section.begun.append(said)
        section.blocked += state == "waiting" and look.blocked(job)
        if state in ("running", "failed"):
            getattr(section, state).append(said)
    for section in found.values():
        if section.name in atlas.studies.get(section.study, ()):
            runs = len(atlas.runs(section.study, section.name))
            tables = Path(atlas.results, section.study, section.name)
            where = f"{section.study}/{section.name}"
            section.diverged = divergence.warning(where, runs, _measured(tables))
    return list(found.values())


def files_of(atlas: Atlas) -> dict[Job, list[str]]:
    """Return the jobs of the plain call, with the files that others read of each."""
    pending: list[tuple[str, Job]] = [("claims.csv", jobs.join_claims(atlas))]
    pending.append(("reference.html", jobs.reference_page(atlas)))
    for study, experiments in atlas.studies.items():
        pending += jobs.tables(atlas, study, experiments) + jobs.figures(atlas, study)
        pending += jobs.movings(atlas, study)
    for name in jobs.notebooks(atlas, "."):
        pending.append((f"notebooks/{name}.html", jobs.notebook(atlas, name)))
    files: dict[Job, dict[str, None]] = {}
    while pending:
        path, job = pending.pop()
        if job not in files:
            pending += [pair for role in job.reads.values() for pair in role]
        files.setdefault(job, {})[path] = None
    return {job: list(paths) for job, paths in files.items()}


def _place(job: Job) -> tuple[str, str]:
    if "experiment" in job.told:
        return job.told["study"], job.told["experiment"]
    if job.stage == "data":
        return "", "data"
    if job.stage == "notebook" and "study" not in job.told:
        return "", "examples"
    return job.told.get("study", ""), "figures, claims"


def _order(atlas: Atlas, job: Job) -> tuple[int, int]:
    study, name = _place(job)
    studies, names = list(atlas.studies), list(atlas.studies.get(study, ()))
    last = len(studies) if name != "data" else -1
    return (
        studies.index(study) if study in studies else last,
        names.index(name) if name in names else len(names),
    )


def _measured(folder: Path) -> list[Path]:
    """Return the tables of what was measured: the experiment's, or so far its groups'."""
    whole = folder / "metrics.parquet"
    return [whole] if whole.is_file() else sorted(folder.glob("*/metrics.parquet"))


class _Look:
    """One look at the files: each is read once."""

    def __init__(self, atlas: Atlas, files: Mapping[Job, list[str]]) -> None:
        self._atlas, self._results, self._files = atlas, atlas.results, files
        self._signs = heartbeat.signs(Path(atlas.results, "logs"))
        self._digests: dict[str, str | None] = {}
        self._done: dict[Job, bool] = {}
        self._blocked: dict[Job, bool] = {}

    def state(self, job: Job) -> tuple[str, dict[str, Any]]:
        """Return a job's state, and what its heartbeat says."""
        # Before the heartbeat: a job that failed may have come from a cache since.
        if self.done(job):
            return "done", {}
        said = self._signs.get(job.spec.digest)
        if said is None:
            return "waiting", {}
        if said["state"] == "running" and heartbeat.alive(said):
            return ("waiting" if said.get("waits") else "running"), said
        return "failed", said

    def done(self, job: Job) -> bool:
        """Return whether a job's files are what it would make now."""
        if job not in self._done:
            self._done[job] = self._is_done(job)
        return self._done[job]

    def _is_done(self, job: Job) -> bool:
        paths = self._files[job]
        if any(self._digest(path) is None for path in paths):
            return False
        told = stored_provenance(f"{self._results}/{paths[0]}")
        if (told.get("code"), told.get("config")) != (job.spec.code, job.spec.config):
            return False
        reads = dict(_inputs(job))
        return (
            told["inputs"] == [[path, self._digest(path)] for path in reads]
            and self._same_sources(job, told)
            and all(self.done(maker) for maker in reads.values())
        )

    def _same_sources(self, job: Job, told: Mapping[str, Any]) -> bool:
        """Return whether a data set was made from the file that is there now, if from a file."""
        if job.stage != "data":
            return True
        try:
            files = jobs.source(self._atlas, job.told["name"], ".")
            return told["sources"] == [[Path(each).name, bytes_digest(each)] for each in files]
        except InputError:
            return False

    def blocked(self, job: Job) -> bool:
        """Return whether a job stands on one that failed."""
        if job not in self._blocked:
            self._blocked[job] = any(
                self.state(maker)[0] == "failed" or self.blocked(maker)
                for _, maker in _inputs(job)
                if not self.done(maker)
            )
        return self._blocked[job]

    def _digest(self, path: str) -> str | None:
        if path not in self._digests:
            try:
                self._digests[path] = stored_digest(f"{self._results}/{path}")
            except InputError:
                self._digests[path] = None
        return self._digests[path]


def _inputs(job: Job) -> Iterator[tuple[str, Job]]:
    for role in job.reads.values():
        yield from role
