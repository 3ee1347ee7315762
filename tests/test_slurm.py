"""The workflow on a SLURM cluster of one node that is a real one but for its GPUs."""

import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
import yaml

from collapse import heartbeat
from collapse.artifacts import stored_provenance
from conftest import Checkout
from slurm_node import NODE, Node, processes

pytestmark = pytest.mark.slurm

# Python imports this module by itself: what a process of `collapse` saw, written at its end; not
# those of examples, which run another workflow in a folder of their own.
SPY = """
import atexit, json, os, sys, uuid

begun = os.getcwd()

def leave():
    if os.path.basename(sys.argv[0]) == "collapse" and begun == os.environ["SPIED"]:
        seen = {"words": sys.argv[1:]}
        seen |= {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")}
        with open(f"{os.environ['SPY']}/{uuid.uuid4()}.json", "w") as file:
            json.dump(seen, file)

atexit.register(leave)
"""
HEAVY = {"compute", "measure_runs", "policy"}


# Ten seconds of training.
SLOW = {
    "data": {"name": "digits"},
    "model": {"kind": "mlp", "hidden": [64, 64]},
    "head": {},
    "loss": "mse",
    "weight_decay": 1e-3,
    "feature_decay": 1e-6,
    "training": {"optimiser": "adam", "learning_rate": 1e-3, "epochs": 1500, "batch_size": 128},
    "seeds": 1,
}
QUICK = SLOW | {"training": SLOW["training"] | {"epochs": 2}}
# A job for each seed, unlike those of an MLP.
SEEDS = QUICK | {"model": {"kind": "cnn", "channels": [4]}, "seeds": 3}
PROBLEM = {
    "problem": {"kind": "deep_linear", "class_sizes": [4, 4, 4], "widths": 4},
    "optimiser": {"kind": "sgd", "learning_rate": 0.1, "steps": 10},
    "weight_decay": 1e-3,
    "feature_decay": 1e-3,
    "seeds": 1,
}


def end_its_time(node, job, process):
    # SLURM looks now and then. Until it does, and wakes the training, that stands still.
    os.kill(process, signal.SIGSTOP)
    node.control("update", f"JobId={job}", "EndTime=now")


def kill(node, job, process):
    os.kill(process, signal.SIGKILL)


def requeue(node, job, process):
    node.control("requeue", job)


def cancel(node, job, process):
    subprocess.run(["scancel", job], check=True)


# What befalls a training that has got on, and how its jobs end.
DISTURBANCES = {
    "timed_out": (end_its_time, ["TIMEOUT", "COMPLETED"]),
    "killed": (kill, ["FAILED", "COMPLETED"]),
    "requeued": (requeue, ["COMPLETED"]),
    "cancelled": (cancel, ["CANCELLED", "COMPLETED"]),
}
MINE = dict.fromkeys(DISTURBANCES, SLOW) | {"quick": QUICK, "seeds": SEEDS, "solved": PROBLEM}


class Submitting(Checkout):
    """A checkout whose jobs go to the cluster, and whose processes leave word of themselves.

    Its file ``mine.yaml`` has the experiments `MINE`.
    """

    def __init__(self, folder):
        for name in ("checkout", "spy", "seen"):
            (folder / name).mkdir()
        super().__init__(folder / "checkout")
        self.notes = folder / "seen"
        (folder / "spy/sitecustomize.py").write_text(SPY)
        path = os.pathsep.join([str(self.folder / "workflow"), str(folder / "spy")])
        self.environment = {"PYTHONPATH": path, "SPY": str(self.notes), "SPIED": str(self.folder)}
        (self.folder / "mine.yaml").write_text(yaml.safe_dump({"deep_linear": MINE}))

    def submit(self, *arguments, run=Checkout.run, settings=("scale=smoke",), **environment):
        """Run snakemake with the cluster's profile, which looks at the jobs more often here."""
        profile = ["--workflow-profile", "workflow/profiles/slurm"]
        often = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
        words = [*profile, *often, "--config", *settings, *arguments]
        return run(self, "snakemake", *words, **self.environment, **environment)

    def start(self, *arguments):
        """Begin what `submit` runs of `MINE`; return the process, which says it in ``said.txt``."""
        with (self.folder / "said.txt").open("w") as said:
            run = partial(Checkout.start, output=said)
            return self.submit("--configfile", "mine.yaml", *arguments, run=run)

    def said(self):
        """Return what the snakemake that was begun said."""
        return (self.folder / "said.txt").read_text()

    def seen(self):
        """Return what the processes of `collapse` saw."""
        return [json.loads(path.read_text()) for path in self.notes.iterdir()]

    def log(self, name, group="seed=0"):
        """Return the log of a training of `MINE`."""
        return self.folder / f"results/logs/deep_linear/{name}/{group}/train.log"


def states(name, group="seed=0"):
    return f"results/deep_linear/{name}/{group}/states.safetensors"


def succeeded(done):
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def node(request, tmp_path_factory):
    """The cluster; with a database of finished jobs where a test asks for it."""
    accounting = getattr(request, "param", False)
    with Node(tmp_path_factory.mktemp("slurm"), gpus=4, accounting=accounting) as node:
        yield node


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {"SNAKEMAKE_OUTPUT_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def whole(node, cache, tmp_path_factory):
    """A checkout in which the cluster has run the whole smoke workflow once."""
    checkout = Submitting(tmp_path_factory.mktemp("whole"))
    succeeded(checkout.submit(**cache))
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


def test_a_rerun_does_nothing(whole, cache):
    done = whole.submit("--dry-run", **cache)
    succeeded(done)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_second_checkout_with_the_cache_computes_nothing(whole, cache, tmp_path):
    second = Submitting(tmp_path)
    figure = "results/figures/perturbation/response_spectrum.png"
    succeeded(second.submit("--", figure, **cache))
    assert not second.seen()
    assert (second.folder / figure).read_bytes() == (whole.folder / figure).read_bytes()


def disturb(node, folder, driver, names):
    """Do to each training what is to befall it, after its first checkpoint; return its jobs."""
    jobs = defaultdict(list)
    left = dict(names)
    while driver.poll() is None:
        for job, _, comment in node.queue():
            for name in names:
                if f"_{name}_seed" in comment and job not in jobs[name]:
                    jobs[name].append(job)
        for process, told in processes():
            for name, act in list(left.items()):
                saved = folder / f"results/deep_linear/{name}/seed=0/checkpoints/resume.safetensors"
                if saved.exists() and trains(process, f"deep_linear/{name}/"):
                    (job,) = (each[13:] for each in told if each.startswith("SLURM_JOB_ID="))
                    signs = heartbeat.signs(folder / "results/logs").values()
                    assert job in [each["slurm_job"] for each in signs]
                    act(node, job, process)
                    del left[name]
        time.sleep(0.2)
    assert not left
    return jobs


def trains(process, place):
    """Return whether a process is a `collapse compute` that writes in a folder."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except OSError:
        return False
    # Python's own command line, not that of a shell around it.
    return "compute" in words[1:3] and any(place in word for word in words)


@pytest.fixture(scope="module")
def disturbed(node, tmp_path_factory):
    """A checkout whose run met with everything at once, and its jobs by training."""
    checkout = Submitting(tmp_path_factory.mktemp("disturbed"))
    # Where this run's folder of checkpoints is to be, there is a file.
    blocked = checkout.folder / "results/deep_linear/seeds/seed=1/checkpoints"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    request = ["--set-resources", "solve:gpu=9", "train:gpu=1"]
    driver = checkout.start(*request, "--", *wanted())
    acts = {name: act for name, (act, _) in DISTURBANCES.items()}
    jobs = disturb(node, checkout.folder, driver, acts)
    blocked.unlink()
    assert driver.returncode == 1, checkout.said()
    return checkout, jobs


def wanted():
    seeds = [states("seeds", f"seed={seed}") for seed in range(3)]
    solved = "results/deep_linear/solved/all/states.safetensors"
    return [*map(states, [*DISTURBANCES, "quick"]), *seeds, solved]


def test_an_impossible_request_and_a_failing_seed_fail_alone(disturbed):
    checkout, _ = disturbed
    said = checkout.said()
    assert "Requested node configuration is not available" in said
    assert "seeds/seed=1/checkpoints" in said
    tried = [process["words"] for process in checkout.seen()]
    attempts = [
        words[words.index("--attempt") + 1]
        for words in tried
        if any("seeds/seed=1/" in word for word in words)
    ]
    assert sorted(attempts) == ["1", "2", "3"]
    missing = [file for file in wanted() if not (checkout.folder / file).exists()]
    assert missing == [states("seeds", "seed=1"), wanted()[-1]]
    command = "collapse status --scale smoke --configfile mine.yaml"
    status = checkout.run(*command.split())
    (line,) = [line for line in status.stdout.splitlines() if line.startswith("failed ")]
    assert "deep_linear/seeds/seed=1/train: collapse: error:" in line and "checkpoints" in line
    assert status.returncode == 1 and "\nrunning" not in status.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same trainings, on this machine."""
    checkout = Checkout(tmp_path_factory.mktemp("undisturbed"))
    (checkout.folder / "mine.yaml").write_text(yaml.safe_dump({"deep_linear": MINE}))
    files = map(states, DISTURBANCES)
    succeeded(checkout.snakemake("--configfile", "mine.yaml", "--", *files))
    return checkout


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbed_training_is_tried_again_and_ends_in_the_same_bytes(
    disturbed, undisturbed, node, name
):
    checkout, jobs = disturbed
    ends = {job: state for job, state, _ in node.queue()}
    assert [ends[job] for job in jobs[name]] == DISTURBANCES[name][1]
    assert "continues after epoch" in checkout.log(name).read_text()
    whole, again = (each.folder / states(name) for each in (undisturbed, checkout))
    assert again.read_bytes() == whole.read_bytes()
    assert not again.with_name("checkpoints").exists()


def test_a_gpu_is_seen_only_where_it_was_asked_for(whole, disturbed):
    asked = {"0": set(), "1": set()}
    for process in [*whole.seen(), *disturbed[0].seen()]:
        words = process["words"]
        if "--gpus" in words:
            asked[words[words.index("--gpus") + 1]].add(process["CUDA_VISIBLE_DEVICES"])
    assert asked["1"] and asked["1"] <= set("0123")
    assert asked["0"] == {""}


def test_a_rerun_completes_what_failed(disturbed):
    checkout, _ = disturbed
    done = checkout.submit("--configfile", "mine.yaml", "--", *wanted())
    succeeded(done)
    assert all((checkout.folder / file).exists() for file in wanted())


def test_an_edit_while_a_job_waits_is_refused_and_recorded_nowhere(node, tmp_path):
    checkout = Submitting(tmp_path)
    file = checkout.folder / states("quick")
    node.control("update", f"NodeName={NODE}", "State=DRAIN", "Reason=test")
    try:
        driver = checkout.start("--", states("quick"))
        while not any(state == "PENDING" for _, state, _ in node.queue()):
            assert driver.poll() is None
            time.sleep(0.2)
        trainer = checkout.folder / "workflow/collapse/training/trainer.py"
        trainer.write_text(trainer.read_text() + "\nEDITED = True\n")
    finally:
        node.control("update", f"NodeName={NODE}", "State=RESUME")
    assert driver.wait() == 1 and "start the workflow again" in checkout.said()
    assert not file.exists()
    succeeded(checkout.submit("--configfile", "mine.yaml", "--", states("quick")))
    spec = json.loads(Path(f"{checkout.log('quick')}.json").read_text())
    assert stored_provenance(file)["code"] == spec["code"]


def test_another_scale_goes_to_the_cluster_too(node, tmp_path):
    checkout, table = Submitting(tmp_path), "results/mixup/fixed_classifier/metrics.parquet"
    succeeded(checkout.submit("--", table, settings=("scale=laptop",)))
    assert (checkout.folder / table).exists()


def test_nothing_is_left_running(whole, disturbed, node):
    assert not node.orphans()
    assert not {state for _, state, _ in node.queue()} & {"PENDING", "RUNNING", "SUSPENDED"}


@pytest.mark.parametrize("node", [True], indirect=True, ids=["accounting"])
def test_with_accounting_too_a_cancelled_job_is_noticed(node, tmp_path):
    checkout = Submitting(tmp_path)
    driver = checkout.start("--", states("cancelled"))
    jobs = disturb(node, checkout.folder, driver, {"cancelled": cancel})
    assert driver.returncode == 0, checkout.said()
    ends = {job: state for job, state, _ in node.queue()}
    assert [ends[job] for job in jobs["cancelled"]] == ["CANCELLED", "COMPLETED"]
