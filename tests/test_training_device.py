"""The device that a job gets."""

import argparse
import errno
import os

import pytest
import torch

from collapse.errors import InputError
from collapse.training import cards, locks
from collapse.training import device as device_module
from collapse.training.cards import Card
from collapse.training.checkpoints import Checkpoints


def test_without_the_drivers_program_gpus_go_by_number(monkeypatch):
    monkeypatch.setattr(cards, "visible", list)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen, offered = [], []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(cards, "take", lambda found: offered.extend(found) or found[1])
    assert device_module.acquire_device() == torch.device("cuda", 1)
    assert chosen == [1] and [card.shown for card in offered] == ["0", "1"]


def test_a_job_sees_its_own_gpu_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cards, "visible", lambda: [Card("GPU-a", "0"), Card("GPU-b", "1")])
    monkeypatch.setattr(cards, "take", lambda found: found[1])
    assert device_module.acquire_device() == torch.device("cuda", 0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("arguments", "visible"),
    [
        ([], "0,1"),
        (["--gpus", "1", "--gres="], "0,1"),
        (["--gpus", "0", "--gres=gpu:a100:1"], "0,1"),
        (["--gpus", "0", "--gres="], ""),
        (["--gpus", "0", "--gres=gpumemory:3"], ""),
        (["--gpus", "0", "--gres=shard:2"], "0,1"),
    ],
)
def test_a_job_that_asked_for_no_gpu_sees_none(monkeypatch, arguments, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    parser = argparse.ArgumentParser()
    device_module.add_arguments(parser)
    device_module.hide_unasked(parser.parse_args(arguments))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused_in_one_line(monkeypatch, tmp_path, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(InputError, match=f"lock: .*{os.strerror(code)}"), Checkpoints(tmp_path, {}):
        pass
