"""The device that a job gets."""

import os

import torch

from collapse.training import device as device_module


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
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    first, second = device_module.acquire_device(), device_module.acquire_device()
    assert [first.index, second.index] == chosen == [0, 1]
    monkeypatch.setattr(
        device_module.time, "sleep", lambda seconds: os.close(device_module._held.pop())
    )
    assert device_module.acquire_device() == second
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert device_module.acquire_device() == torch.device("cuda", 0)
    for descriptor in device_module._held:
        os.close(descriptor)
