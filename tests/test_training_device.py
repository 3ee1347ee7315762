"""The device that a job gets."""

import argparse
import errno
import os

import pytest
import torch

from collapse.errors import InputError
from collapse.training import device as device_module
from collapse.training import locks
from collapse.training.checkpoints import Checkpoints


def test_two_jobs_never_share_a_gpu(monkeypatch, tmp_path):
    class Properties:
        def __init__(self, index):
            self.uuid = f"gpu-{index}"

    monkeypatch.setattr(device_module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(device_module, "_held", [])
    # Inside an allocation of a cluster too: its jobs share its GPUs.
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first, second = device_module.acquire_device(), device_module.acquire_device()
    assert [first.index, second.index] == chosen == [0, 1]
    monkeypatch.setattr(
        device_module.time, "sleep", lambda seconds: os.close(device_module._held.pop())
    )
    assert device_module.acquire_device() == second
    for descriptor in device_module._held:
        os.close(descriptor)


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
