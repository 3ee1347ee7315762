"""The choice of a device, and the precision of its products."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from collapse.training import cards

# What SLURM calls GPUs, and shares of one.
GPU_GRES = ("gpu", "shard", "mps")
MIXED = {"bf16": torch.bfloat16, "float16": torch.float16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a stage that may use a GPU; `hide_unasked` reads them."""
    parser.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="GPUs it may use; 0 hides all"
    )
    parser.add_argument(
        "--gres", default="", help="what SLURM was asked for instead, such as gpu:1"
    )


def hide_unasked(args: argparse.Namespace) -> None:
    """Hide all GPUs from a job that asked for none: on a cluster those it sees are others'."""
    if not args.gpus and args.gres.split(":")[0] not in GPU_GRES:
        # Before CUDA is asked anything.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def acquire_device() -> torch.device:
    """Return a GPU that no other job of this node uses, for the life of this process; else the CPU.

    While all are in use this waits, in order of arrival and without a CUDA context; then the
    process sees its own alone. So do the jobs of one allocation of a cluster share its GPUs. On a
    CPU the work is pinned to one thread: the number of threads changes the order of sums, and so
    the bytes of the result.
    """
    # CUDA reads what it may see once, when it is first asked anything.
    found = cards.visible() if torch.backends.cuda.is_built() else []
    if found:
        os.environ["CUDA_VISIBLE_DEVICES"] = cards.take(found).shown
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
        return torch.device("cpu")
    index = 0
    if not found:
        # A container without nvidia-smi: by number, and seeing them all.
        numbers = map(str, range(torch.cuda.device_count()))
        index = int(cards.take([cards.Card(f"number-{each}", each) for each in numbers]).shown)
        torch.cuda.set_device(index)
    return torch.device("cuda", index)


def device_class(device: torch.device) -> str:
    """Return what names the device in a provenance record: ``cpu``, or the GPU's model."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Compute float32 products on a GPU in a precision inside the block; convolutions repeatably.

    `name` is ``float32``; ``tf32``, products with 10 bits of mantissa; or ``bf16`` or ``float16``,
    for the mixed precision of `mixed`, whose remaining float32 products are as with ``tf32``.
    """
    products = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    previous = [backend.fp32_precision for backend in products]
    deterministic = torch.backends.cudnn.deterministic
    halves = torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
    try:
        # Sums of products in float16 are in float32.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        for backend in products:
            backend.fp32_precision = "ieee" if name == "float32" else "tf32"
        # cuDNN's faster algorithms may add in another order each time.
        torch.backends.cudnn.deterministic = True
        yield
    finally:
        for backend, setting in zip(products, previous, strict=True):
            backend.fp32_precision = setting
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = halves


def mixed(name: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in ``bf16`` or ``float16``, if `name` is."""
    return torch.autocast(device.type, MIXED.get(name, torch.bfloat16), enabled=name in MIXED)
