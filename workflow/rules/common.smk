import gc
import logging
import os
import re
import shutil
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from collapse import config as atlas_config
from collapse import artifacts, divergence, jobs, lineage, studies
from collapse.config.experiment import VERBS
from collapse.errors import InputError, naming_files
from snakemake.caching.local import OutputFileCache
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

# Jobs find `collapse` and `jupyter` beside this Python, activated or not; idle threads of two
# torch processes on one machine must sleep, not spin.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")

# What a plan is made of lives as long as Snakemake: looking for garbage in it whenever a few hundred
# objects are new takes a quarter of the planning.
gc.freeze()
gc.set_threshold(50_000)


# Without --cache Snakemake warns of all that could be cached, a page before the first job.
logger.addFilter(lambda record: "eligible for caching" not in record.getMessage())


def refuse(error, locked=False):
    """End with the one line that says what is wrong, the folder unlocked if it is locked by now."""
    if locked:
        workflow.persistence.unlock()
    print(f"collapse: error: {error}", file=sys.stderr, flush=True)
    # Snakemake turns every exception of a Snakefile into a traceback and exit code 1.
    os._exit(2)


def read_config():
    files = [str(path) for path in workflow.overwrite_configfiles or []]
    for path in files:
        # Snakemake has read them, and of a key given twice kept the last.
        atlas_config.read_yaml(Path(path))
    atlas_config.check_settings(workflow.config_settings.config_args or [])
    return atlas_config.load(
        Path(workflow.basedir, "config"), config, ", ".join(files) or "--config"
    )


def check_cache_folder():
    """Make the shared cache at the start: Snakemake finds it missing only after computing."""
    folder = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
    if not folder and "--cache" in sys.argv and workflow.is_main_process:
        raise InputError(
            "--cache: SNAKEMAKE_OUTPUT_CACHE is not set, allowed is the cache's folder"
        )
    if not folder:
        # The profile of a cluster asks for a cache where there is one; Snakemake would end in a
        # traceback where there is none.
        workflow.workflow_settings.cache = None
    else:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"SNAKEMAKE_OUTPUT_CACHE={folder}: {error.strerror}"
            ) from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"SNAKEMAKE_OUTPUT_CACHE={folder}: not writable")
        for entry in os.scandir(folder):
            # Beside files there are only folders for those on their way.
            if entry.is_dir() and not entry.name.startswith("tmp"):
                raise InputError(
                    f"{entry.path}: a folder in place of a file of the cache, delete it"
                )


async def keep_if_possible(cache, job, keep=OutputFileCache.store):
    """Put what a job made into the cache, or say in a line that it is not there.

    Of a full disk Snakemake makes a traceback, and the job anew: twice, in vain.
    """
    try:
        await keep(cache, job)
    except OSError as error:
        folder = f"SNAKEMAKE_OUTPUT_CACHE={cache.path}"
        logger.warning(f"{folder}: {error.strerror}: {job.output[0]} is not kept there")


OutputFileCache.store = keep_if_possible


try:
    with naming_files():
        ATLAS = read_config()
        atlas_config.check_results(ATLAS)
        if workflow.is_main_process:
            places = (
                "claims",
                "claims.csv",
                "overview.html",
                "reference.html",
                "data",
                "figures",
                "moving",
                "notebooks",
                "policies",
            )
            artifacts.check_links(
                f"{ATLAS.results}/{name}" for name in (*ATLAS.studies, *places)
            )
        check_cache_folder()
        STUDIES = {name: studies.load(name) for name in ATLAS.studies}
except InputError as error:
    refuse(error)

# By the driver alone, with more memory and time each time: the Snakemake inside a cluster's job
# would try again with what was too little. What a job refused it refuses at once, told the attempt.
RETRIES = 2 if workflow.is_main_process else 0


def attempted(wildcards, attempt):
    return attempt


RESULTS = ATLAS.results
# Snakemake takes braces in it for wildcards.
ENVIRONMENT = (
    str(Path(workflow.basedir, "envs", "environment.yaml"))
    .replace("{", "{{")
    .replace("}", "}}")
)
NOTEBOOKS = jobs.notebooks(ATLAS, workflow.basedir)


# Names of no study, too: those are refused in one line.
STUDY = f"(?!(?:{'|'.join(sorted(atlas_config.RESERVED))})/)[^/]+"


wildcard_constraints:
    study=STUDY,
    notebook="|".join((*ATLAS.studies, *jobs.EXAMPLES)),
    group=r"[^/]+",
    figure="[A-Za-z0-9_]+",
    dataset="[^/]+",


def by_group(experiment):
    return experiment.measured_by_group


# A wildcard `experiment` stands for study and experiment, deep_linear/frames.
ANY = f"{STUDY}/[^/]+"


def experiments(predicate):
    """Return the constraint of a wildcard that stands for those experiments that fulfil it."""
    patterns = [
        re.escape(f"{study}/{name}")
        for study, block in ATLAS.studies.items()
        for name, experiment in block.items()
        if predicate(experiment)
    ]
    # An empty alternative would match every name; this matches none.
    return "|".join(patterns) or "(?!)"


def all_but(predicate):
    """Return the constraint for all other names, those of no experiment among them.

    So a name that the config does not have still finds a rule, where it is refused in one line.
    """
    return f"(?!(?:{experiments(predicate)})/){ANY}"


def or_refuse(function, *arguments, locked=False):
    """Return what a function returns, or end with the line that says why it cannot."""
    try:
        with naming_files():
            return function(*arguments)
    except InputError as error:
        refuse(error, locked)


def job_of(stage, *names):
    """Return a job of the workflow, after a look that all its code is there."""
    job = or_refuse(getattr(jobs, stage), ATLAS, *names)
    # Made and kept here: Snakemake would answer the error of a missing module with a traceback.
    or_refuse(lambda: job.spec)
    return job


# The specs of the jobs that Snakemake asked about, by digest.
SPECS = {}


def digest_of(stage):
    """Return the params function of a stage: the digest of a job's spec."""

    def digest(wildcards):
        spec = job_of(stage, *where(wildcards)).spec
        # Outside the digest: results are the same in a folder of another name.
        SPECS[spec.digest] = replace(spec, results=RESULTS)
        return spec.digest

    return digest


def upstream_of(stage):
    """Return the params function of a stage: the digest of all jobs behind one.

    Snakemake runs a job again whose inputs were made anew. Where that failed the input is gone, and
    what was made from the one before would pass for finished.
    """
    return lambda wildcards: job_of(stage, *where(wildcards)).upstream


def where(wildcards):
    """Return the names that wildcards hold; `experiment` stands for study and experiment."""
    return [part for value in wildcards for part in value.split("/")]


def reads(stage, role):
    """Return the input function of a stage: the files that its job reads in a role."""
    return lambda wildcards: with_digests(
        f"{RESULTS}/{path}" for path in job_of(stage, *where(wildcards)).files(role)
    )


def digests_of(*files):
    """Return where the digests of files lie that can hold none."""
    return list(dict.fromkeys(str(artifacts.digests_path(path)) for path in files))


def with_digests(files):
    """Return files, and where the digests lie of those that can hold none."""
    files = list(files)
    return files + digests_of(
        *(path for path in files if not artifacts.says_itself(path))
    )


def planned(category, stage):
    """Return the category of a file in the report, which shows none but what is planned now.

    Refused are a damaged file, one that another job made, and one made from other inputs than
    there are.
    """

    def checked(wildcards, output):
        spec = job_of(stage, *where(wildcards)).spec
        for path in output:
            for check in (artifacts.check, spec.check_output, lineage.check_inputs):
                or_refuse(check, path)
        return category

    return checked


def relative(path):
    """Return a file of the project as seen from here: absolute paths make other checkouts miss."""
    return os.path.relpath(Path(workflow.basedir, path))


def reference_claims():
    """Return the claims of the reference runs that are shipped, study by study."""
    folder = Path(workflow.basedir, "results/reference/claims")
    return [relative(path) for path in sorted(folder.glob("*.csv"))]


def benchmark_picture():
    """Return the picture of the shipped benchmark, if it is there."""
    path = relative("results/reference/benchmarks/speed.png")
    return [path] if Path(path).is_file() else []


def computing(resource):
    """Return the resource function of what a group's job asks for."""

    def wanted(wildcards):
        group = or_refuse(ATLAS.group, *where(wildcards))
        configs = [run.config for run in group.runs]
        return configs[0].resources(configs, ATLAS.data_set(configs[0]))

    return by_attempt(resource, wanted)


def measuring(resource):
    """Return the resource function of what a job that measures asks for."""

    def wanted(wildcards):
        study, name, *folder = where(wildcards)
        runs = (
            ATLAS.group(study, name, *folder).runs
            if folder
            else ATLAS.runs(study, name)
        )
        configs = [run.config for run in runs]
        return configs[0].measure_resources(configs, ATLAS.data_set(configs[0]))

    return by_attempt(resource, wanted)


def by_attempt(resource, wanted):
    """Return the function of a resource; time and memory grow with the attempt."""

    def amount(wildcards, attempt):
        value = getattr(wanted(wildcards), resource)
        return value * attempt if resource in ("memory", "minutes") else value

    return amount


def tables_of(study, names):
    tables = or_refuse(jobs.tables, ATLAS, study, names)
    return [f"{RESULTS}/{path}" for path, _ in tables]


def experiment_files(*names):
    return [
        path
        for study in names or ATLAS.studies
        for path in tables_of(study, ATLAS.studies[study])
    ]


def figure_files(*names):
    return with_digests(
        f"{RESULTS}/{path}"
        for study in names or ATLAS.studies
        for path, _ in or_refuse(jobs.figures, ATLAS, study)
    )


def moving_files(*names):
    return with_digests(
        f"{RESULTS}/{path}"
        for study in names or ATLAS.studies
        for path, _ in or_refuse(jobs.movings, ATLAS, study)
    )


def benchmark_files(figure):
    stem = f"{RESULTS}/figures/benchmarks/{figure}"
    return with_digests(f"{stem}.{kind}" for kind in jobs.DRAWN)


def claims_files(*names):
    together = ("claims.csv", "claims.html", "overview.html")
    return with_digests(
        [f"{RESULTS}/claims/{study}.csv" for study in names]
        or [f"{RESULTS}/{name}" for name in together]
    )


def reference_files():
    return with_digests([f"{RESULTS}/reference.html"])


def notebook_files(*names):
    return with_digests(
        f"{RESULTS}/notebooks/{name}.html"
        for name in NOTEBOOKS
        if not names or name in names
    )


def check_cluster():
    """End in one line where jobs are for SLURM and this machine cannot submit any."""
    if workflow.executor_plugin.name == "slurm" and shutil.which("sbatch") is None:
        raise InputError(
            "no sbatch found, the profile for SLURM is for machines that submit to it"
        )


class DivergedRuns(logging.Handler):
    """Says of every table of an experiment, as soon as it is made, which runs diverged."""

    @cached_property
    def jobs(self):
        # Once: a search for each job that ends would take the square of them.
        return {job.jobid: job for job in workflow.dag.jobs}

    def emit(self, record):
        if getattr(record, "event", None) is LogEvent.JOB_FINISHED:
            job = self.jobs[record.job_id]
            if job.rule.name in ("measure", "table"):
                self.say(*where(job.wildcards), job.output.metrics)

    def say(self, study, name, path):
        runs = len(ATLAS.runs(study, name))
        text = divergence.warning(f"{study}/{name}", runs, [path])
        if text:
            logger.warning(text)


if workflow.is_main_process:
    logger.addHandler(DivergedRuns())


def check_unread():
    """End in one line where a file of this run is damaged that no job may have read."""
    for job in workflow.dag.finished_jobs:
        readers = workflow.dag.depending[job].items()
        read = {
            file for reader, files in readers if not reader.is_norun for file in files
        }
        for path in job.output:
            # What lies in a cache is linked, and its reader may have come from there too.
            if path in read and not Path(path).is_symlink():
                continue
            or_refuse(artifacts.check, path, locked=True)


onsuccess:
    check_unread()


def look_for_jobs_when_one_ends():
    """Take away Snakemake's own limit of jobs started in a second, 100: ours are no such jobs.

    To hold to a limit the scheduler looks again a second after each look, beside the looks that
    it is at already: one more in every second for each job that ended, until they are all it does.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    # Another was asked for.
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def begin():
    """Write what all jobs are told, and whose results these are."""
    check_cluster()
    look_for_jobs_when_one_ends()
    atlas_config.mark_results(ATLAS)
    # Jobs on other machines parse the Snakefile again, perhaps after an edit: what they are told,
    # and with which code, is what the driver wrote beside their logs.
    for job in workflow.dag.needrun_jobs():
        if "digest" in job.params.keys():
            SPECS[job.params.digest].write(f"{job.log}.json")


onstart:
    or_refuse(begin, locked=True)
