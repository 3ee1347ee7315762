import os
import sys
from pathlib import Path

from collapse import config as atlas_config
from collapse import jobs, studies
from collapse.artifacts import canonical_json
from collapse.errors import InputError
from collapse.provenance import stage_digest

# Jobs find `collapse` and `jupyter` beside this Python, activated or not; idle threads of two
# torch processes on one machine must sleep, not spin.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")


def refuse(error):
    """End with the one line that says what is wrong."""
    print(f"collapse: error: {error}", file=sys.stderr, flush=True)
    # Snakemake turns every exception of a Snakefile into a traceback and exit code 1.
    os._exit(2)


def read_config():
    files = [str(path) for path in workflow.overwrite_configfiles or []]
    return atlas_config.load(
        Path(workflow.basedir, "config"), config, ", ".join(files) or "--config"
    )


def check_cache_folder():
    """Make the shared cache at the start: Snakemake finds it missing only after computing."""
    folder = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
    if folder:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"SNAKEMAKE_OUTPUT_CACHE={folder}: {error.strerror}"
            ) from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"SNAKEMAKE_OUTPUT_CACHE={folder}: not writable")


try:
    ATLAS = read_config()
    check_cache_folder()
    STUDIES = {name: studies.load(name) for name in ATLAS.studies}
except InputError as error:
    refuse(error)


wildcard_constraints:
    study="|".join(ATLAS.studies),
    experiment="[A-Za-z0-9_]+",
    run=r"(?:[^/]+\+)?seed(?:=\d+|s=\d+-\d+)",
    group=r"(?:(?!seeds?=)[^/])+",
    figure="[A-Za-z0-9_]+",
    dataset="[A-Za-z0-9_]+",


def spec_of(stage):
    """Return the params function of a stage: what the job is told, as JSON."""
    return lambda wildcards: canonical_json(checked(stage, wildcards))


def code_of(stage):
    """Return the params function of a stage: the digest of the code that it runs."""
    return lambda wildcards: stage_digest(stage, checked(stage, wildcards))


def checked(stage, wildcards):
    try:
        return getattr(jobs, stage)(ATLAS, *wildcards)
    except InputError as error:
        refuse(error)


def data_source(dataset):
    try:
        return jobs.data_source(ATLAS, dataset, workflow.basedir)
    except InputError as error:
        refuse(error)


def unit_metrics(wildcards):
    folder = f"results/{wildcards.study}/{wildcards.experiment}"
    try:
        found = jobs.units(ATLAS, wildcards.study, wildcards.experiment)
    except InputError as error:
        refuse(error)
    return [f"{folder}/{unit}/metrics.parquet" for unit in found]


def tables_read(study, experiments):
    return [
        path for name in experiments for path in jobs.results_of(ATLAS, study, name)
    ]


def experiment_files(*names):
    return [
        path
        for study in names or ATLAS.studies
        for path in tables_read(study, ATLAS.studies[study])
    ]


def figure_files(*names):
    return [
        f"results/figures/{study}/{figure}.{suffix}"
        for study in names or ATLAS.studies
        for figure in STUDIES[study].figures
        for suffix in ("pdf", "png", "csv")
    ]


def notebook_files(*names):
    return [f"results/notebooks/{study}.html" for study in names or ATLAS.studies]
