"""Injected faults: each ends in the same bytes or in one clear line, never in anything else.

`make test-full` injects all of them and prints their counts, `make test` a sample of them.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from collapse.cli import main
from collapse.training import history
from collapse.training.checkpoints import Checkpoints
from conftest import Checkout

GROUP = "deep_linear/network_mlp/depth=3+bias=false+seed=0"
# The log of a job of every stage, below results/logs.
JOBS = {
    "data": "data/digits.log",
    "predictions": "deep_linear/network_mlp/predictions.log",
    "train": f"{GROUP}/train.log",
    "solve": "deep_linear/frames/depth=3+bias=true/solve.log",
    "solve near features": "perturbation/intermediate_features/{}/solve.log",
    "measure group": f"{GROUP}/measure.log",
    "measure": "deep_linear/frames/measure.log",
    "table": "deep_linear/network_mlp/table.log",
    "figure": "figures/deep_linear/network_mlp.log",
    "claims": "claims/deep_linear.log",
    "join claims": "claims.log",
    "notebook": "notebooks/perturbation.log",
}
# Of each job a file of every kind that it reads.
READ = [
    ("predictions", "digits.safetensors"),
    ("train", "digits.safetensors"),
    ("solve near features", "features.safetensors"),
    ("measure group", "states.safetensors"),
    ("measure group", "history.parquet"),
    ("measure", "frames.parquet"),
    ("table", "samples.parquet"),
    ("figure", "metrics.parquet"),
    ("claims", "predictions.parquet"),
    ("join claims", "mixup.csv"),
    ("join claims", "mixup.digest.json"),
    ("notebook", "flow.png"),
    ("notebook", "perturbation.csv"),
    ("figure", "spec.json"),
]
DAMAGES = (
    "flip header", "flip data", "flip footer", "truncate header", "truncate data",
    "truncate footer", "empty", "remove", "replace",
)  # fmt: skip
KILLED = ("data", "train", "solve", "measure group", "measure", "figure")
FULL = ("data", "train", "solve", "measure", "table", "predictions", "figure", "claims")
CHECKPOINTS = ("resume.safetensors", "state-*.safetensors", "previous.safetensors")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# A figure with all that it needs: eight jobs.
TARGET = "figures/deep_linear/collapse_threshold"


def sampled(faults, step):
    """Return parameters; `make test` runs every so many of them."""
    return [
        pytest.param(*fault, marks=() if step and index % step == 0 else pytest.mark.faults)
        for index, fault in enumerate(faults)
    ]


def randomly(*fault):
    """Return the random numbers of a fault: the same in every run."""
    return np.random.default_rng(list(repr(fault).encode()))


@dataclass
class Job:
    """A finished job, to be done again elsewhere."""

    finished: Checkout
    log: str

    def __post_init__(self):
        first = (self.finished.folder / "results/logs" / self.log).read_text().splitlines()[0]
        self.words = shlex.split(first.removeprefix("$ "))
        spec = self.finished.folder / self.words[self.words.index("--spec") + 1]
        self.spec = json.loads(spec.read_text())
        named = {word for word in self.words if word.startswith("results/")}
        self.outputs = sorted(name for name in named if "/logs/" not in name)
        self.inputs = [f"results/{n}" for files in self.spec["inputs"].values() for n in files]

    def arena(self, folder):
        """Copy into a folder all that the job reads; return the command that does it there."""
        for name in self.inputs:
            for path in (name, str(Path(name).with_suffix(".digest.json"))):
                if (self.finished.folder / path).is_file():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(self.finished.folder / path, folder / path)
        (folder / "spec.json").write_text(
            json.dumps({**self.spec, "results": str(folder / "results")})
        )
        words = [str(folder / w) if w in self.outputs else w for w in self.words]
        words = [str(self.finished.folder / w) if w.startswith("notebooks/") else w for w in words]
        words[words.index("--spec") + 1] = str(folder / "spec.json")
        return words

    def is_done(self, folder):
        """Return whether the outputs are there; those that are there are those of no fault."""
        found = [name for name in self.outputs if (folder / name).exists()]
        for name in found:
            expected = (self.finished.folder / name).read_bytes()
            assert (folder / name).read_bytes() == expected, f"{name} is another"
        return len(found) == len(self.outputs)


@pytest.fixture
def job(finished):
    """Return the job of a name in `JOBS`."""

    def find(name):
        log = JOBS[name]
        if "{}" in log:
            (path, *_) = (finished.folder / "results/logs").glob(log.replace("{}", "*"))
            log = str(path.relative_to(finished.folder / "results/logs"))
        return Job(finished, log)

    return find


def called(words):
    """Run a command of `collapse` in this process; return its exit code and its errors."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = main(words[1:])
    return code, errors.getvalue().splitlines()


def outcome(job, folder, words, record):
    """Run a job where something is wrong; assert that it ends well in one way or the other."""
    code, errors = called(words)
    clear = [line for line in errors if line.startswith("collapse: error: ")]
    if code == 0:
        assert job.is_done(folder) and not clear
        record("fault", "same bytes")
    else:
        others = [line for line in errors if line not in clear and line[-5:] != " left"]
        assert code == 2 and len(clear) == 1 and not others, errors
        # Nothing half-written: what is there is right.
        job.is_done(folder)
        assert not list(folder.rglob(".*.tmp"))
        record("fault", "one line")
    return code


def damage(path, kind, random):
    """Damage a file."""
    content = bytearray(path.read_bytes())
    size = len(content)
    what, _, where = kind.partition(" ")
    edge = min(size // 3, 200)
    low, high = {"header": (0, edge), "footer": (size - edge, size)}.get(where, (edge, size - edge))
    place = int(random.integers(low, max(high, low + 1)))
    if what == "flip":
        content[place] ^= 1 << int(random.integers(8))
    elif what == "truncate":
        content = content[:place]
    elif what == "replace":
        content = random.bytes(size)
    else:
        content = b""
    path.write_bytes(content)
    if what == "remove":
        path.unlink()


@pytest.mark.parametrize("stage", JOBS)
def test_a_job_that_is_done_again_undisturbed_writes_the_same_bytes(job, tmp_path, stage):
    task = job(stage)
    code, errors = called(task.arena(tmp_path))
    assert code == 0 and task.is_done(tmp_path), errors


@pytest.mark.parametrize(
    ("stage", "name", "kind"), sampled([(*read, kind) for read in READ for kind in DAMAGES], 12)
)
def test_a_job_that_reads_a_damaged_file(job, tmp_path, record_property, stage, name, kind):
    task, random = job(stage), randomly(stage, name, kind)
    words = task.arena(tmp_path)
    path = next(path for path in sorted(tmp_path.rglob(f"*{name}")))
    damage(path, kind, random)
    code = outcome(task, tmp_path, words, record_property)
    # A spec may be spelt in several ways; of all else every byte counts.
    assert code == 2 or name == "spec.json"


@pytest.mark.parametrize(
    ("stage", "seed"), sampled([(stage, seed) for seed in range(8) for stage in KILLED], 15)
)
def test_a_job_that_is_killed_and_done_again(job, tmp_path, record_property, stage, seed):
    task = job(stage)
    words = task.arena(tmp_path)
    process = task.finished.start(*words, output=subprocess.DEVNULL)
    # From when its modules are loaded, which takes most of the time, to a little after its end.
    share = randomly(stage, seed).random()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1 + 2 * share)
    process.kill()
    process.wait()
    task.is_done(tmp_path)
    code, errors = called(words)
    assert code == 0 and not [line for line in errors if line.startswith("collapse:")], errors
    assert task.is_done(tmp_path) and not list(tmp_path.rglob(".*.tmp"))
    record_property("fault", "same bytes")


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "kind"), sampled([(n, kind) for n in CHECKPOINTS for kind in DAMAGES], 20)
)
def test_a_training_that_continues_from_a_damaged_checkpoint(
    job, tmp_path, monkeypatch, record_property, name, kind
):
    task, save = job("train"), Checkpoints.save
    words = task.arena(tmp_path)

    def stop(self, epoch, parts):
        save(self, epoch, parts)
        if epoch == 4:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Checkpoints, "save", stop)
        patch.setattr(history, "SHARE", np.inf)
        called(words)
    (folder,) = tmp_path.rglob("checkpoints")
    # The last recorded state: the checkpoint before knew it too, or did not.
    damage(max(folder.glob(name)), kind, randomly(name, kind))
    code, errors = called(words)
    assert code == 0 and task.is_done(tmp_path)
    ignored = [line for line in errors if "checkpoint ignored" in line]
    # Nobody reads the one before the last; and of the last, if it is gone, nobody knows.
    silent = name.startswith("previous") or (name, kind) == ("resume.safetensors", "remove")
    assert len(ignored) == (0 if silent else 1)
    assert not list(tmp_path.rglob("checkpoints"))
    record_property("fault", "same bytes, and a line")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk to fill")
@pytest.mark.parametrize(
    ("stage", "seed"), sampled([(stage, seed) for seed in range(3) for stage in FULL], 9)
)
def test_a_job_whose_disk_is_full(job, tmp_path, record_property, stage, seed):
    task, disk = job(stage), tmp_path / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        words = task.arena(tmp_path)
        needed = sum((task.finished.folder / name).stat().st_size for name in task.outputs)
        room = shutil.disk_usage(disk).used + int(needed * randomly(stage, seed).random())
        subprocess.run(["mount", "-o", f"remount,size={room}", str(disk)], check=True)
        outcome(task, tmp_path, words, record_property)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        code, errors = called(words)
        assert code == 0 and task.is_done(tmp_path), errors
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def same_as(finished, folder):
    """Return whether the target and all behind it is there; what is there is that of no fault."""
    for path in (folder / "results").rglob("*"):
        name = path.relative_to(folder)
        kept = path.is_file() and "logs" not in name.parts and ".run.json" not in name.name
        if kept and name.name not in ("scale.txt", "lock"):
            assert path.read_bytes() == (finished.folder / name).read_bytes(), name
    return all((folder / f"results/{TARGET}{end}").exists() for end in (".png", ".digest.json"))


@pytest.mark.parametrize(
    ("number", "seed"), sampled([(number, seed) for number in SIGNALS for seed in range(5)], 0)
)
def test_a_workflow_whose_driver_is_ended(finished, checkout, record_property, number, seed):
    target = f"results/{TARGET}.png"
    command = ["snakemake", "--config", "scale=smoke", "--cores", "2", "--", target]
    process = checkout.start(*command, output=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2 + 10 * randomly(number, seed).random())
    process.send_signal(number)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        # A Snakemake that is ended while it holds its lock waits for itself; whoever ends it has to
        # kill it then, as SLURM does.
        process.kill()
        process.wait()
    checkout.snakemake("--unlock")
    done = checkout.snakemake(target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_as(finished, checkout.folder)
    record_property("fault", "same bytes")


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory):
    """A shared cache, in which the target and all behind it lies."""
    folder = tmp_path_factory.mktemp("cache")
    made = Checkout(tmp_path_factory.mktemp("made"))
    words = ["--cache", "--", f"results/{TARGET}.png"]
    done = made.snakemake(*words, SNAKEMAKE_OUTPUT_CACHE=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("kind", "seed"),
    sampled([(k, seed) for k in ("flip data", "truncate data", "empty") for seed in range(6)], 0),
)
def test_a_workflow_with_a_damaged_cache(
    finished, cache_folder, checkout, tmp_path_factory, record_property, kind, seed
):
    cached = tmp_path_factory.mktemp("damaged") / "cache"
    shutil.copytree(cache_folder, cached)
    random = randomly(kind, seed)
    entries = sorted(path for path in cached.iterdir() if path.stat().st_size)
    damage(entries[random.integers(len(entries))], kind, random)
    words = ["--cache", "--", f"results/{TARGET}.png"]
    done = checkout.snakemake(*words, SNAKEMAKE_OUTPUT_CACHE=str(cached))
    lines = (done.stdout + done.stderr).splitlines()
    clear = {line for line in lines if line.startswith("collapse: error: ")}
    if done.returncode == 0:
        assert same_as(finished, checkout.folder) and not clear
        record_property("fault", "same bytes")
    else:
        assert len(clear) == 1 and str(cached) in clear.pop(), done.stdout + done.stderr
        assert not any(line.startswith("Traceback") for line in lines)
        record_property("fault", "one line")
