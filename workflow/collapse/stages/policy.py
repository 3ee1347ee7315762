"""Search a linear policy for a control task and store it; print its returns on the way.

The job is told {"task": TASK, "seed": SEED}. The file holds ``gain`` (n x F), ``mean`` and ``std``
(F), and as attributes the task, the episodes played and the return of its evaluation, less what
staying alive is worth.
"""

import argparse

from collapse.artifacts import write_tensors
from collapse.data.makers.demonstrations import find_policy, searched
from collapse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--out", required=True, help="the safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the policy that ``args.spec`` asks for to ``args.out``."""
    task, seed = (args.spec.job.get(key) for key in ("task", "seed"))
    if task not in searched():
        raise InputError(f"--spec: task is {task!r}, allowed are {', '.join(searched())}")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"--spec: seed is {seed!r}, allowed are whole numbers from 0")
    result = find_policy(task, seed, lambda line: print(line, flush=True))
    policy = {"gain": result.policy.gain, "mean": result.policy.mean, "std": result.policy.std}
    attributes = {"task": task, "episodes": result.episodes, "score": result.score}
    write_tensors(args.out, policy, args.spec.provenance(), attributes)
