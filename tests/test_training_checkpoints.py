"""Trainings that are broken off go on to the same end."""

import io
import os
import signal
import sys
import threading
import time
from types import MappingProxyType

import numpy as np
import pytest

from collapse.training import history as history_module
from collapse.training.checkpoints import Checkpoints
from collapse.training.trainer import Trainer, train
from conftest import ADAM, CE, DECAYS, SGD, assert_same_states, fit, network, prepared

NEW_INPUT = {"kind": "x", "least": 0.5}


class Interrupted(Exception):
    pass


def train_two(checkpoints=None, head=MappingProxyType({}), **changes):
    """Train two networks."""
    networks = [network(seed=seed, **head) for seed in (0, 1)]
    return train(prepared(networks, [0, 1], **changes), checkpoints)


def interrupted(monkeypatch, folder, identity, last, **changes):
    """Train with checkpoints, broken off before the one after epoch `last` is complete."""
    save = Checkpoints.save

    def limited(self, epoch, parts):
        if epoch > last:
            raise Interrupted
        save(self, epoch, parts)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Checkpoints, "save", limited)
        patch.setattr(history_module, "SHARE", np.inf)
        with Checkpoints(folder, identity) as checkpoints:
            train_two(checkpoints, **changes)


@pytest.mark.parametrize(
    ("optimiser", "most", "last", "input"),
    [
        (ADAM, 12, 5, NEW_INPUT),
        (SGD, 12, 5, NEW_INPUT),
        ({"kind": "x"}, 12, 5, NEW_INPUT),
        (SGD, 4, 4, NEW_INPUT),
        (SGD, 4, 6, NEW_INPUT),
        (SGD, 4, 7, NEW_INPUT),
        (ADAM, 4, 6, {"kind": "mixup", "alpha": 0.4, "per_sample": False}),
    ],
    ids=["adam", "sgd", "new", "thinned-4", "thinned-6", "thinned-7", "mixup"],
)
def test_a_broken_off_training_continues_to_the_same_bytes(
    new, monkeypatch, tmp_path, optimiser, most, last, input
):
    monkeypatch.setattr(history_module, "MOST_ROWS", most)
    changes = {
        "epochs": 12,
        "optimiser": optimiser,
        "schedule": {"step": 5, "at": None, "factor": 0.5},
    }
    changes["input"] = input
    whole = train_two(**changes)
    interrupted(monkeypatch, tmp_path / "c", {"code": "a"}, last, **changes)
    epochs, epoch = [], Trainer.epoch
    monkeypatch.setattr(
        Trainer, "epoch", lambda self, number: epochs.append(number) or epoch(self, number)
    )
    with Checkpoints(tmp_path / "c", {"code": "a"}) as checkpoints:
        rest = train_two(checkpoints, **changes)
        checkpoints.remove()
    assert epochs == list(range(last + 1, 13))
    for left, right in zip(whole, rest, strict=True):
        assert_same_states(left.states, right.states)
        assert left.history["epoch"].tolist() == list(range(12 // most, 13, 12 // most))
        assert left.history.equals(right.history)
    assert not (tmp_path / "c").exists()


def test_sigterm_ends_a_training_after_its_epoch_and_a_successor_continues(monkeypatch, tmp_path):
    changes, epochs, epoch = {"epochs": 9}, [], Trainer.epoch
    whole = train_two(**changes)

    def terminated(self, number):
        epochs.append(number)
        if epochs == [1, 2, 3, 4]:
            signal.raise_signal(signal.SIGTERM)
        return epoch(self, number)

    # No checkpoint is due of itself but the first.
    monkeypatch.setattr(history_module, "SHARE", 1e-9)
    monkeypatch.setattr(Trainer, "epoch", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with Checkpoints(tmp_path, {}) as checkpoints, pytest.raises(SystemExit) as ended:
        train_two(checkpoints, **changes)
    assert ended.value.code == 128 + signal.SIGTERM
    with Checkpoints(tmp_path, {}) as checkpoints:
        rest = train_two(checkpoints, **changes)
    assert epochs == list(range(1, 10))
    for left, right in zip(whole, rest, strict=True):
        assert_same_states(left.states, right.states)
        assert left.history.equals(right.history)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_frozen_head_stays_as_it_starts_while_the_features_learn(monkeypatch, tmp_path):
    head = {"depth": 1, "init": "etf", "frozen": True}
    changes = {"epochs": 30, "learning_rate": 0.01, "loss": CE}
    changes["decays"] = DECAYS | {"weight_decay": 0.0}
    results = train_two(head=head, **changes)
    interrupted(monkeypatch, tmp_path, {}, 5, head=head, **changes)
    with Checkpoints(tmp_path, {}) as checkpoints:
        rest = train_two(checkpoints, head=head, **changes)
    for left, right in zip(results, rest, strict=True):
        assert_same_states(left.states, right.states)
    results.append(fit(net=network(seed=0, **head), **changes))
    for seed, result in zip((0, 1, 0), results, strict=True):
        start = network(seed=seed, **head).head.weights[0].numpy().tobytes()
        for state in result.states.values():
            assert state["head.layers.0.weight"].tobytes() == start
        first, *_, last = result.states.values()
        moved = {name for name in first if first[name].tobytes() != last[name].tobytes()}
        assert {name for name in first if name.startswith("backbone")} <= moved
        errors = result.history["error"]
        assert errors.iloc[0] > 0.5 and errors.iloc[-1] < 0.1


def test_checkpoints_take_their_share_of_the_time(monkeypatch, tmp_path):
    now, epochs = [0.0], []

    def clock():
        return now[0]

    def save(self, epoch, parts):
        epochs.append(epoch)
        now[0] += 1.0

    epoch = Trainer.epoch

    def timed(self, number):
        now[0] += 20.0
        return epoch(self, number)

    monkeypatch.setattr(history_module.time, "monotonic", clock)
    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(Trainer, "epoch", timed)
    with Checkpoints(tmp_path, {}) as checkpoints:
        fit(checkpoints=checkpoints, epochs=9)
        # One second each of 50: every third epoch of 20 seconds; the results follow on the last.
        assert epochs == [1, 4, 7]
        fit(checkpoints=checkpoints, epochs=2, keep_end=True)
    # Others that follow are what a successor would come for.
    assert epochs == [1, 4, 7, 1, 2]


def test_a_stale_checkpoint_is_ignored_with_a_line(monkeypatch, tmp_path, capsys):
    interrupted(monkeypatch, tmp_path, {"code": "old"}, 3)
    with Checkpoints(tmp_path, {"code": "new"}) as checkpoints:
        assert checkpoints.restore([1]) is None
        assert checkpoints.restore([1]) is None
    line = capsys.readouterr().err
    assert "checkpoint ignored" in line and "stale" in line and "resume.safetensors" in line
    assert line.count("checkpoint ignored") == 1
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("name", "left"),
    [("resume", 2), ("state-000003", 2), ("state-000002", None), ("previous", 3)],
)
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    monkeypatch, tmp_path, capsys, name, left, damage
):
    interrupted(monkeypatch, tmp_path, {}, 3)
    name = f"{name}.safetensors"
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-10])
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    with Checkpoints(tmp_path, {}) as checkpoints:
        found = checkpoints.restore([1, 2, 3])
    assert (found and found.epoch) == left
    lines = capsys.readouterr().err.splitlines()
    # Nothing says that there was one that is missing.
    silent = left == 3 or (name, damage) == ("resume.safetensors", "missing")
    assert len(lines) == (0 if silent else 1)
    assert all("checkpoint ignored" in line and name in line for line in lines)
    aside = {f"{name}.damaged"} if damage != "missing" and left != 3 else set()
    assert {path.name for path in tmp_path.glob("*.damaged")} == aside
    assert bool(list(tmp_path.glob("*.safetensors"))) == (left is not None)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("state-000002", "state-000003"),
        ("state-000003", "resume"),
        ("previous", "state-000003"),
        ("resume", "state-000003"),
    ],
)
def test_a_checkpoint_in_anothers_place_is_set_aside(monkeypatch, tmp_path, source, target):
    interrupted(monkeypatch, tmp_path, {}, 3)
    path = tmp_path / f"{target}.safetensors"
    path.write_bytes((tmp_path / f"{source}.safetensors").read_bytes())
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert checkpoints.restore([1, 2, 3]).epoch == 2
    assert not path.exists() and (tmp_path / f"{path.name}.damaged").exists()


def test_a_training_goes_on_from_the_checkpoint_before_to_the_same_bytes(monkeypatch, tmp_path):
    whole = train_two(epochs=8)
    interrupted(monkeypatch, tmp_path, {}, 5, epochs=8)
    (tmp_path / "resume.safetensors").write_bytes(b"nonsense")
    with Checkpoints(tmp_path, {}) as checkpoints:
        rest = train_two(checkpoints, epochs=8)
    for left, right in zip(whole, rest, strict=True):
        assert_same_states(left.states, right.states)
        assert left.history.equals(right.history)


@pytest.mark.parametrize("finished", [False, True])
def test_a_locked_folder_is_waited_for(tmp_path, monkeypatch, finished):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    folder, entered = tmp_path / "checkpoints", []

    def enter():
        with Checkpoints(folder, {}):
            entered.append((folder / "lock").exists())

    second = threading.Thread(target=enter)
    with Checkpoints(folder, {}) as checkpoints:
        second.start()
        while "waiting for its end" not in (said := sys.stderr.getvalue()):
            time.sleep(0.01)
        assert said.startswith(f"{folder}: process {os.getpid()} ") and not entered
        if finished:
            checkpoints.remove()
    second.join()
    assert entered == [True]
