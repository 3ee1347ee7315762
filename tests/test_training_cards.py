"""GPUs are handed out one to a job, in order of arrival, by processes that have no GPU."""

import os
import subprocess
import sys
import time

import pytest

from collapse.errors import InputError
from collapse.training import cards
from collapse.training.cards import Card

# Takes a GPU, notes when and which, and holds it until it is told to end.
JOB = """
import sys, time
from pathlib import Path
from collapse.training import cards
name, folder = sys.argv[1], Path(sys.argv[2])
card = cards.take(cards.visible())
assert "torch" not in sys.modules
(folder / f"{name}.taken").write_text(f"{time.monotonic()} {card.shown}")
while not (folder / f"{name}.end").exists():
    time.sleep(0.01)
"""


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that makes this a machine of so many GPUs."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(cards.tempfile, "tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def make(count):
        program = tmp_path / "nvidia-smi"
        lines = "".join(f"echo GPU-{index}a-00\n" for index in range(count))
        program.write_text(f"#!/bin/sh\n{lines}")
        program.chmod(0o755)
        return tmp_path

    return make


class Jobs:
    """Processes that take GPUs, in a folder."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}

    def start(self, name, shown=None):
        environment = os.environ | ({} if shown is None else {"CUDA_VISIBLE_DEVICES": shown})
        command = [sys.executable, "-c", JOB, name, str(self.folder)]
        self.running[name] = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        )
        # It stands in the queue, or has its GPU, before the next one comes.
        self.until(lambda: self.card(name) or self.waits(name))

    def waits(self, name):
        ending = f"-{self.running[name].pid}"
        return any(each.name.endswith(ending) for each in self.folder.glob("collapse-gpus/[0-9]*"))

    def card(self, name):
        path = self.folder / f"{name}.taken"
        return path.read_text().split()[-1] if path.exists() and path.read_text() else None

    def end(self, name):
        (self.folder / f"{name}.end").touch()
        self.running[name].wait(10)

    def until(self, true):
        limit = time.monotonic() + 20
        while not true():
            assert time.monotonic() < limit
            time.sleep(0.01)


@pytest.fixture
def jobs(machine, tmp_path):
    jobs = Jobs(tmp_path)
    yield jobs
    for process in jobs.running.values():
        process.kill()
        process.communicate()


def test_each_gpu_has_one_job_and_who_came_first_is_next(machine, jobs):
    machine(2)
    for name in "abcdef":
        jobs.start(name)
    assert {jobs.card("a"), jobs.card("b")} == {"GPU-0a-00", "GPU-1a-00"}
    for ended, following in (("b", "c"), ("a", "d"), ("d", "e")):
        freed = jobs.card(ended)
        jobs.end(ended)
        jobs.until(lambda following=following: jobs.card(following))
        assert jobs.card(following) == freed
    assert jobs.waits("f") and not jobs.card("f")


def test_what_a_killed_job_held_or_waited_for_comes_free(machine, jobs):
    machine(1)
    for name in "abc":
        jobs.start(name)
    for name in "ba":
        jobs.running[name].kill()
        jobs.running[name].wait()
    jobs.until(lambda: jobs.card("c"))
    assert not jobs.card("b") and len(list(jobs.folder.glob("collapse-gpus/[0-9]*"))) <= 1


def test_who_waits_for_another_gpu_is_not_in_the_way(machine, jobs):
    machine(2)
    jobs.start("a", "0")
    jobs.start("b", "0")
    jobs.start("c", "1")
    jobs.until(lambda: jobs.card("c"))
    # The same GPU under its own name.
    jobs.start("d", "GPU-0a")
    jobs.end("a")
    jobs.until(lambda: jobs.card("b"))
    assert jobs.card("b") == "0" and not jobs.card("d")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, [("GPU-0a-00", "GPU-0a-00"), ("GPU-1a-00", "GPU-1a-00")]),
        ("1", [("GPU-1a-00", "1")]),
        ("1, 0", [("GPU-1a-00", "1"), ("GPU-0a-00", "0")]),
        ("GPU-1a", [("GPU-1a-00", "GPU-1a")]),
        ("MIG-5", [("MIG-5", "MIG-5")]),
        ("1,7,0", [("GPU-1a-00", "1")]),
        ("NoDevFiles", []),
        ("²", []),
        ("9" * 5_000, []),
        ("-1", []),
        ("", []),
    ],
)
def test_a_process_takes_of_what_it_is_shown(machine, monkeypatch, shown, expected):
    machine(2)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert cards.visible() == [Card(*each) for each in expected]


def test_what_is_no_ticket_is_passed_over(machine, jobs, tmp_path):
    machine(1)
    (tmp_path / "collapse-gpus").mkdir()
    (tmp_path / "collapse-gpus/0").mkdir()
    (tmp_path / "collapse-gpus/1").write_bytes(b"\xff\n\xff")
    jobs.start("a")
    jobs.until(lambda: jobs.card("a"))
    jobs.start("b")
    jobs.end("a")
    jobs.until(lambda: jobs.card("b"))


def test_the_queue_is_everyones(machine, jobs, tmp_path):
    machine(1)
    jobs.start("a")
    assert (tmp_path / "collapse-gpus").stat().st_mode & 0o7777 == 0o1777


def test_a_driver_that_says_something_else_has_no_gpu_and_one_that_hangs_is_a_line(
    machine, monkeypatch, tmp_path
):
    machine(1)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'NVIDIA-SMI has failed \\377\\n'\n")
    assert cards.visible() == []
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(cards, "_PATIENCE", 0.2)
    with pytest.raises(InputError, match="nvidia-smi: no answer"):
        cards.visible()


def test_without_a_driver_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards.visible() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert cards.visible() == []
