"""The workflow on a SLURM cluster of one node that is a real one but for its GPUs."""

import json
import os

import pytest

from conftest import Checkout
from slurm_node import Node

pytestmark = pytest.mark.slurm

# Python imports this module by itself: what a process of `collapse` saw, written at its end.
SPY = """
import atexit, json, os, sys, uuid

def leave():
    if os.path.basename(sys.argv[0]) == "collapse":
        seen = {"words": sys.argv[1:]}
        seen |= {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")}
        with open(f"{os.environ['SPY']}/{uuid.uuid4()}.json", "w") as file:
            json.dump(seen, file)

atexit.register(leave)
"""
HEAVY = {"compute", "measure_runs", "policy"}


class Submitting(Checkout):
    """A checkout whose jobs go to the cluster, and whose processes leave word of themselves."""

    def __init__(self, folder):
        for name in ("checkout", "spy", "seen"):
            (folder / name).mkdir()
        super().__init__(folder / "checkout")
        self.notes = folder / "seen"
        (folder / "spy/sitecustomize.py").write_text(SPY)
        path = os.pathsep.join([str(self.folder / "workflow"), str(folder / "spy")])
        self.environment = {"PYTHONPATH": path, "SPY": str(self.notes)}

    def submit(self, *arguments, settings=("scale=smoke",), **environment):
        """Run snakemake with the cluster's profile, which looks at the jobs more often here."""
        profile = ["--workflow-profile", "workflow/profiles/slurm"]
        often = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
        words = [*profile, *often, "--config", *settings, *arguments]
        return self.run("snakemake", *words, **self.environment, **environment)

    def seen(self):
        """Return what the processes of `collapse` saw."""
        return [json.loads(path.read_text()) for path in self.notes.iterdir()]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {"SNAKEMAKE_OUTPUT_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def whole(node, cache, tmp_path_factory):
    """A checkout in which the cluster has run the whole smoke workflow once."""
    checkout = Submitting(tmp_path_factory.mktemp("whole"))
    done = checkout.submit(**cache)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def test_what_computes_or_measures_ran_under_slurm_and_nothing_else(whole):
    stages = {}
    for process in whole.seen():
        submitted = process["SLURM_JOB_ID"] is not None
        stages.setdefault(process["words"][0], set()).add(submitted)
    assert {stage for stage, submitted in stages.items() if True in submitted} <= HEAVY
    assert {stage for stage, submitted in stages.items() if False in submitted}.isdisjoint(HEAVY)
    assert {"compute", "measure_runs", "predictions", "table", "figure"} <= stages.keys()
    assert (whole.folder / "results/claims.csv").exists()


def test_a_gpu_is_seen_only_where_it_was_asked_for(whole):
    asked = {True: set(), False: set()}
    for process in whole.seen():
        words = process["words"]
        if words[0] in HEAVY:
            gpus = words[words.index("--gpus") + 1] != "0"
            asked[gpus].add(process["CUDA_VISIBLE_DEVICES"])
    assert asked[True] <= {"0", "1"} and asked[False] == {""}


def test_a_rerun_does_nothing(whole, cache):
    done = whole.submit("--dry-run", **cache)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
