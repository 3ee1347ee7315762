"""What jobs say of themselves while they run, and what is made of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from collapse import cli, heartbeat
from collapse.errors import InputError
from collapse.progress import Progress


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)


def the_sign(folder, **expected):
    """Return the only sign in a folder, once it says what is expected."""
    limit = time.monotonic() + 20
    while True:
        (said,) = heartbeat.signs(folder).values()
        if expected.items() <= said.items():
            return said
        assert time.monotonic() < limit, said
        time.sleep(0.01)


def test_a_job_says_how_far_it_is_while_it_lives_and_then_nothing(tmp_path):
    log = tmp_path / "deep/train.log"
    with heartbeat.beating(log, "0123"):
        said = the_sign(tmp_path, state="running", digest="0123", process=os.getpid())
        assert said["log"] == log and said["age"] < 20
        progress = Progress(200, unit="epoch")
        progress.update(50, loss=0.25)
        text = the_sign(tmp_path, progress=heartbeat._SAID["progress"])["progress"]
        assert text.startswith("epoch 50/200  loss 0.25  ") and text.endswith(" left")
        heartbeat.say(waits="for a GPU")
        the_sign(tmp_path, waits="for a GPU")
    assert heartbeat.signs(tmp_path) == {} and not list(log.parent.iterdir())


@pytest.mark.parametrize(
    ("error", "left"), [(InputError("bad"), True), (MemoryError(), True), (SystemExit(143), False)]
)
def test_a_job_that_failed_says_so_and_one_that_was_ended_is_to_be_done(tmp_path, error, left):
    with pytest.raises(type(error)), heartbeat.beating(tmp_path / "a.log", "0123"):
        raise error
    states = [said["state"] for said in heartbeat.signs(tmp_path).values()]
    assert states == (["failed"] if left else [])


def test_sigterm_ends_a_job_that_then_has_no_sign(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from collapse import heartbeat\n"
        "with heartbeat.beating(Path(sys.argv[1]), 'a'): print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert heartbeat.signs(tmp_path)
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
    assert not heartbeat.signs(tmp_path)


def test_of_a_process_of_this_machine_it_is_seen_at_once_that_it_is_gone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    sign = {"age": 1.0, "host": socket.gethostname(), "process": os.getpid()}
    assert heartbeat.alive(sign) and not heartbeat.alive(sign | {"process": gone.pid})
    assert heartbeat.alive(sign | {"process": gone.pid, "host": "node7"})
    for odd in (None, "5", 10**30, 1):
        assert heartbeat.alive(sign | {"process": odd})
    assert not heartbeat.alive(sign | {"age": heartbeat.FRESH + 1})


def test_the_last_sign_of_a_job_counts_and_what_is_none_is_passed_over(tmp_path):
    for name, age, process in (("a", 100, 1), ("b", 10, 2)):
        path = tmp_path / f"{name}.log.status.json"
        path.write_text(json.dumps({"digest": "0123", "state": "failed", "process": process}))
        os.utime(path, (time.time() - age,) * 2)
    others = ["[" * 5_000, "[]", '{"state": "running"}', "\0", '{"digest": "a"}']
    others += ['{"digest": "a", "state": []}', '{"digest": "a", "state": "running"}' + " " * 10**6]
    for number, text in enumerate(others):
        (tmp_path / f"{number}.log.status.json").write_text(text)
    (tmp_path / ".status.json").write_text('{"digest": "b", "state": "running"}')
    os.mkfifo(tmp_path / "fifo.log.status.json")
    (said,) = heartbeat.signs(tmp_path).values()
    assert said["process"] == 2 and 10 <= said["age"] < 60


def test_a_stage_that_fails_leaves_its_sign_beside_its_log(tmp_path, capsys):
    spec = {"stage": "table", "code": "0", "modules": [], "job": {}, "inputs": {}}
    path = tmp_path / "table.log.json"
    path.write_text(json.dumps(spec | {"results": str(tmp_path)}))
    outputs = ["--metrics", str(tmp_path / "m.parquet"), "--samples", str(tmp_path / "s.parquet")]
    assert cli.main(["table", "--spec", str(path), *outputs]) == 2
    assert the_sign(tmp_path, state="failed")["log"] == tmp_path / "table.log"
    assert "the code changed" in capsys.readouterr().err


def test_what_an_attempt_refused_the_next_refuses_at_once(tmp_path, capsys, monkeypatch):
    spec = {"stage": "table", "code": "0", "modules": [], "job": {}, "inputs": {}}
    path = tmp_path / "table.log.json"
    path.write_text(json.dumps(spec | {"results": str(tmp_path)}))
    outputs = ["--metrics", str(tmp_path / "m.parquet"), "--samples", str(tmp_path / "s.parquet")]
    command = ["table", "--spec", str(path), *outputs]
    asked = []

    def check(path, expected, command):
        asked.append(path)
        raise answers[len(asked) - 1]

    answers = [
        InputError("no such column"),
        InputError("other"),
        MemoryError("all"),
        InputError("x"),
    ]
    monkeypatch.setattr(cli, "_check", lambda spec, *rest: check(*rest))
    said = []
    for attempt in (1, 2, 3, 1, 1, 2):
        code = cli.main([*command, "--attempt", str(attempt)])
        lines = capsys.readouterr().err.splitlines()
        assert code == (1 if "not enough memory" in lines[0] else 2)
        said += lines
    line, memory = (
        f"collapse: error: {each}" for each in ("no such column", "not enough memory (all)")
    )
    # Asked for anew, it looks again; and again after what need not come again.
    assert said == [line] * 3 + ["collapse: error: other", memory, "collapse: error: x"]
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 72.8 TiB\nfor an array"), 1),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1),
        (torch.OutOfMemoryError("CUDA out of memory"), 1),
        (RuntimeError("another"), None),
    ],
)
def test_what_finds_no_memory_ends_in_a_line_and_may_be_tried_again(
    monkeypatch, capsys, error, code
):
    def fail(*_):
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    if code is None:
        with pytest.raises(RuntimeError):
            cli.main(["status"])
        return
    assert cli.main(["status"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("collapse: error: not enough memory (") and printed.count("\n") == 1


def test_progress_is_a_line_now_and_then_and_at_the_end(capsys):
    progress = Progress(1000, done=400, unit="step", since=time.monotonic() - 6)
    for step in range(401, 1001):
        progress.update(step, loss=1 / step, error=0.5)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "step 1000/1000  loss 0.001  error 0.5  10 ms/step  00:00 left"


def test_log_lines_are_few_and_name_what_matters(capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 4.0))
    monkeypatch.setattr("collapse.progress.time.monotonic", lambda: next(clock))
    progress = Progress(10, done=2)
    for epoch in range(3, 11):
        progress.update(epoch, loss=0.5, error=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 5/10  loss 0.5  error 0.25  4.00 s/epoch  00:20 left"
    assert len(lines) == 3 and lines[-1].startswith("epoch 10/10")
