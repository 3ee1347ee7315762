"""Gradient descent on deep linear MSE problems that never leaves a GPU's multiprocessors.

One block of a kernel holds one problem and takes all steps of a run: between them nothing is
launched, and what fits stays in shared memory and registers. Problems that fit no form, or are few
and large, advance kernel by kernel, as `collapse.problems.descent` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from collapse.kernels import Kernel, UnavailableError
from collapse.problems.parameters import Flat
from collapse.problems.resident import general, layout, tensor_cores

# Where blocks are faster, measured on an H200: of so many problems at every size that was tried, of
# fewer while a block's step, which grows with the variables, takes less than launching the kernels
# of a step, of which each layer needs some.
MANY_PROBLEMS, MOST_ENTRIES, ENTRIES_PER_LAUNCHES = 28, 270_000, 12_000
# What a thread's registers hold besides velocities.
WORKING_REGISTERS = 60


@dataclass(frozen=True)
class Shape:
    """What a kernel is compiled for: M `layers` of `width` D, `outputs` K, `columns` C of H."""

    layers: int
    outputs: int
    width: int
    columns: int
    bias: bool

    @property
    def entries(self) -> int:
        """Numbers in a problem's variables."""
        square = (self.layers - 1) * self.width + self.columns + self.outputs
        return self.width * square + self.bias * self.outputs

    @property
    def defines(self) -> dict[str, int]:
        """The macros of the sources."""
        return {
            "M": self.layers,
            "K": self.outputs,
            "D": self.width,
            "C": self.columns,
            "BIAS": int(self.bias),
        }


@dataclass(frozen=True)
class Card:
    """What a GPU offers to a block: shared memory in bytes, and float64 tensor cores."""

    shared_bytes: int
    tensor_cores: bool


@dataclass(frozen=True)
class Form:
    """A source with its macros, the threads of a block and its shared memory in bytes."""

    source: str
    defines: dict[str, int]
    threads: int
    shared_bytes: int


def pays(shape: Shape, batch: int) -> bool:
    """Return whether blocks are faster than kernels that take a step of all problems each."""
    if batch >= MANY_PROBLEMS:
        return shape.entries <= MOST_ENTRIES
    return shape.entries <= ENTRIES_PER_LAUNCHES * (shape.layers + 1)


def form_of(shape: Shape, card: Card) -> Form | None:
    """Return the fastest form that a shape fits; None if it fits none."""
    if card.tensor_cores:
        form = _with_tensor_cores(shape)
        if form is not None and form.shared_bytes <= card.shared_bytes:
            return form
    return _general(shape, card)


def _with_tensor_cores(shape: Shape) -> Form | None:
    layers, width = shape.layers, shape.width
    if width % 16 or shape.outputs > 8:
        return None
    # As in the source, where the names are the same.
    tiles, padded = width // 16, -(-shape.columns // 16) * 16
    lanes = tiles if tiles < 4 else 2
    threads = 32 * tiles * lanes
    classes = 4 if shape.outputs <= 4 else 8
    # Two registers a number, of which a thread has eight of each chunk of columns.
    velocities = 16 * layers * -(-tiles // lanes)
    if threads > 1024 or velocities + WORKING_REGISTERS > min(255, 2**16 // threads):
        return None
    numbers = width * padded + (layers - 1) * width**2 + (layers + 1) * classes * width
    numbers += 2 * lanes * classes * max(padded, width) + shape.outputs
    return Form(layout.SOURCE + tensor_cores.SOURCE, shape.defines, threads, 8 * numbers)


def _general(shape: Shape, card: Card) -> Form | None:
    width, columns, outputs, threads = shape.width, shape.columns, shape.outputs, 512
    if outputs > 16:
        return None
    parts = max(size * max(1, threads // size) for size in (columns, width))
    small = outputs * (shape.layers * width + 2 * max(columns, width) + 1 + parts)
    position = width * (columns + (shape.layers - 1) * width)
    fits = 8 * (small + position) <= card.shared_bytes
    numbers = small + (position if fits else 0)
    if 8 * numbers > card.shared_bytes:
        return None
    defines = shape.defines | {"SHARED": int(fits)}
    return Form(layout.SOURCE + general.SOURCE, defines, threads, 8 * numbers)


@cache
def _kernel(shape: Shape, device: int) -> tuple[Kernel, int] | None:
    """Return the kernel of a shape and its threads; None where there is none, or no compiler."""
    properties = torch.cuda.get_device_properties(device)
    card = Card(properties.shared_memory_per_block_optin, properties.major >= 9)
    form = form_of(shape, card)
    if form is None:
        return None
    try:
        with torch.cuda.device(device):
            kernel = Kernel(form.source, "descend", form.defines, form.shared_bytes)
        return kernel, form.threads
    except UnavailableError as error:
        _say_once(f"no kernel is compiled, problems take many small ones ({error})")
        return None


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def descent(
    shape: Shape,
    position: Flat,
    velocity: Flat,
    targets: Tensor,
    ones: Tensor,
    samples: int,
    decays: Tensor,
    learning_rate: Tensor,
    momentum: float,
) -> Callable[[int], None] | None:
    """Return a function that takes so many steps of B problems, in place; None if none pays.

    Parameters
    ----------
    position, velocity : Flat
        H, W_1 to W_M and the bias if there is one, and the learning rate times their velocities.
    targets, ones : Tensor
        Y, K x C, and what the bias is multiplied by, C.
    samples : int
        N.
    decays : Tensor
        Of H and W_1 to W_M, B x (M + 1).
    learning_rate : Tensor
        B.
    momentum : float
        The factor of the old velocity.
    """
    batch = len(learning_rate)
    made = _kernel(shape, position.rows.device.index) if pays(shape, batch) else None
    if made is None:
        return None
    kernel, threads = made
    # Held by the function: the kernel reads them long after.
    constants = (
        targets.contiguous(),
        ones.contiguous(),
        (learning_rate / samples).contiguous(),
        (learning_rate.unsqueeze(1) * decays).contiguous(),
    )

    def advance(steps: int) -> None:
        kernel(
            batch, threads, position.rows, velocity.rows, *constants, float(momentum), steps, batch
        )

    return advance
