"""Checkpoints of a training: what a successor of a killed process continues from.

The folder holds every recorded state, written once, and ``resume.safetensors``: parameters,
buffers, optimiser and history at the end of one epoch; and that of the checkpoint before, in case
the last is damaged. Everything else that shapes the next epoch (the order of the samples, the
learning rate) follows from the epoch's number.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from collapse import heartbeat
from collapse.artifacts import canonical_json, read_tensors, write_tensors
from collapse.errors import InputError
from collapse.training.locks import holder, try_lock

Arrays = dict[str, np.ndarray]
_SECONDS = 1.0


@dataclass(frozen=True)
class Snapshot:
    """A training at the end of an epoch.

    Attributes
    ----------
    epoch
        Epochs done.
    parts
        Arrays by part (``network``, ``optimiser``, ``history``) and name.
    states
        Recorded network states by epoch, up to this one.
    """

    epoch: int
    parts: dict[str, Arrays]
    states: dict[int, Arrays]


class _StaleError(InputError):
    """A checkpoint that is whole, of another training."""


class Checkpoints:
    """A folder of checkpoints, locked for one process while the context is open.

    The folder is made if need be; entering waits until no other process holds it, such as a job
    that outlived its driver. `identity` is what determines the training (JSON values: code,
    config, data, device class); a checkpoint of another identity is stale.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        # As text, in one spelling, for comparing with what a file says.
        self._identity = canonical_json(identity)
        self._provenance = identity
        self._descriptor: int | None = None
        self._waiting = False

    def __enter__(self) -> Self:
        """Make and lock the folder, once nobody else holds it."""
        lock = self.folder / "lock"
        # Anew until the folder that is locked is the one that is there.
        while self._descriptor is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = try_lock(lock)
            if descriptor is None:
                self._wait(lock)
                continue
            # A predecessor may have removed the folder, and the file in it, just before.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        heartbeat.say(waits=None)
        return self

    def _wait(self, lock: Path) -> None:
        """Wait a while for the holder of the folder, who is named once."""
        if not self._waiting:
            found = holder(lock)
            print(f"{self.folder}: {found} trains this run; waiting for its end", file=sys.stderr)
            heartbeat.say(waits=f"for {found}, which trains the same run")
            self._waiting = True
        # A lock that ends with its process notifies nobody.
        time.sleep(_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the folder."""
        # Closing the descriptor releases the lock.
        os.close(self._descriptor)
        self._descriptor = None

    def part(self, name: str) -> "Checkpoints":
        """Return the checkpoints of a part of the training, in a folder under this one's lock."""
        part = Checkpoints(self.folder / name, self._provenance)
        part.folder.mkdir(exist_ok=True)
        return part

    def record(self, epoch: int, state: Arrays) -> None:
        """Write the network's state at a recorded epoch."""
        self._write(self._state_file(epoch), "state", state, epoch)

    def save(self, epoch: int, parts: Mapping[str, Arrays]) -> None:
        """Write all that a successor needs to continue after `epoch`."""
        tensors = {
            f"{part}/{name}": array
            for part, arrays in parts.items()
            for name, array in arrays.items()
        }
        if self._resume_file.exists():
            self._resume_file.replace(self._previous_file)
        self._write(self._resume_file, "resume", tensors, epoch)

    def restore(self, epochs: Iterable[int]) -> Snapshot | None:
        """Return the last checkpoint with the states at recorded `epochs`, or None without one.

        Of one that is damaged the files that are so are set aside, as ``FILE.damaged``, and the
        checkpoint before is taken; one that is stale is removed. A line on standard error says so.
        """
        snapshot, reasons, recorded = None, [], list(epochs)
        for path in (self._resume_file, self._previous_file):
            if snapshot is None and path.exists():
                try:
                    snapshot = self._snapshot(path, recorded)
                except InputError as error:
                    reasons.append(error)
        if reasons:
            next_ = "anew" if snapshot is None else f"after epoch {snapshot.epoch}"
            print(f"checkpoint ignored, training starts {next_}: {reasons[0]}", file=sys.stderr)
        if snapshot is None:
            # Recorded states too: they belong to the same training.
            for path in self.folder.glob("*.safetensors"):
                path.unlink()
        return snapshot

    def _snapshot(self, path: Path, epochs: Iterable[int]) -> Snapshot:
        tensors, epoch = self._read(path, "resume")
        # States beyond it, of a process that was killed before it saved, are computed again.
        past = sorted(number for number in epochs if number <= epoch)
        states = {n: self._read(self._state_file(n), "state", n)[0] for n in past}
        parts: dict[str, Arrays] = {"ensemble": {}, "optimiser": {}, "history": {}}
        for key, array in tensors.items():
            # The first slash only: names in an update rule's state have their own.
            part, name = key.split("/", 1)
            parts[part][name] = array
        return Snapshot(epoch, parts, states)

    def remove(self) -> None:
        """Remove the folder: the training's outputs are written."""
        shutil.rmtree(self.folder)

    @property
    def _resume_file(self) -> Path:
        return self.folder / "resume.safetensors"

    @property
    def _previous_file(self) -> Path:
        return self.folder / "previous.safetensors"

    def _state_file(self, epoch: int) -> Path:
        return self.folder / f"state-{epoch:06d}.safetensors"

    def _write(self, path: Path, kind: str, tensors: Arrays, epoch: int) -> None:
        attributes = {"identity": self._identity, "kind": kind, "epoch": epoch}
        write_tensors(path, tensors, self._provenance, attributes)

    def _read(self, path: Path, kind: str, epoch: int | None = None) -> tuple[Arrays, int]:
        """Return a file's arrays and epoch; set it aside if it is damaged, or not the one named."""
        try:
            tensors, attributes = read_tensors(path)
            if attributes.get("identity") != self._identity:
                raise _StaleError(f"{path}: stale, it is of other code, config, data or device")
            found = attributes["kind"], attributes["epoch"]
            if found != (kind, found[1] if epoch is None else epoch):
                raise InputError(f"{path}: holds the {found[0]} of epoch {found[1]}")
        except _StaleError:
            raise
        except InputError:
            if path.exists():
                path.replace(path.with_name(f"{path.name}.damaged"))
            raise
        return tensors, found[1]
