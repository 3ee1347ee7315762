"""Named tensors as plain arrays and back: what files and checkpoints hold of a network."""

from collections.abc import Mapping

import numpy as np
import torch

from collapse.errors import InputError


def get_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return copies of tensors, such as a network's ``state_dict()``, as arrays."""
    # On a CPU, too: the array would share the memory that training goes on to change.
    return {name: tensor.detach().to("cpu", copy=True).numpy() for name, tensor in tensors.items()}


@torch.no_grad()
def set_arrays(tensors: Mapping[str, torch.Tensor], arrays: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into the tensors of the same names, which keep their layout and device.

    Raises
    ------
    InputError
        If a name is on one side only, or an array has another number of values.
    """
    for name in sorted(tensors.keys() ^ arrays.keys()):
        problem = "not there" if name in tensors else "not a tensor of this network"
        raise InputError(f"{name}: {problem}: the state belongs to another network")
    for name, tensor in tensors.items():
        if arrays[name].size != tensor.numel():
            raise InputError(
                f"{name}: shape {arrays[name].shape} found, {tuple(tensor.shape)} is needed"
            )
        # Files store a scalar as one value in one dimension.
        tensor.copy_(torch.from_numpy(arrays[name].reshape(tensor.shape)))
