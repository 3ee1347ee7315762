"""How experiments are carried out: a package for each procedure, found by its name.

Its module ``compute`` offers ``compute(runs, upstream, job)``, which returns what the runs
computed, its module ``measure`` ``measure(runs, states, upstream, job)``, which yields what is
measured of each run in turn: two modules, so that an edit of one leaves the other's jobs alone. A
run is what `collapse.grid.expand` returns: its ``id``, ``keys``, ``seed`` and resolved ``config``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from collapse.specs import Spec
from collapse.training.device import acquire_device, device_class
from collapse.upstream import RecordedStates

Runs = Sequence[Mapping[str, Any]]
"""The runs of a group."""


@dataclass(frozen=True)
class Computed:
    """What a group of runs computed.

    Attributes
    ----------
    tensors
        States as ``{run}/{step:06d}/{name}``; ``{run}/basis`` where free features ``H`` have
        fewer columns than samples: they are H @ basis.
    runs
        Of each run ``id``, ``keys``, the recorded ``steps``, ``status`` (``completed`` or
        ``diverged``) and ``diverged_at``, the step from which on there is no state, or None.
    history
        The run's keys and columns of the procedure's: what is known of every step.
    """

    tensors: dict[str, np.ndarray]
    runs: list[dict[str, Any]]
    history: pd.DataFrame


def run_record(
    run: Mapping[str, Any], steps: Sequence[int], diverged_at: int | None, **further: Any
) -> dict[str, Any]:
    """Return what `Computed.runs` says of a run, and what its procedure says further."""
    return {
        "id": run["id"],
        "keys": run["keys"],
        "steps": list(steps),
        "status": "completed" if diverged_at is None else "diverged",
        "diverged_at": diverged_at,
        **further,
    }


class States(RecordedStates):
    """The states of a group of runs, read back, with the history beside them."""

    def __init__(self, path: str, history: pd.DataFrame) -> None:
        super().__init__(path)
        self.history = history

    def history_of(self, keys: Mapping[str, Any]) -> pd.DataFrame:
        """Return the rows of a run's history; a key that is null is missing in tables."""
        columns = ((self.history[name], value) for name, value in keys.items())
        return self.history[
            np.logical_and.reduce(
                [column.isna() if value is None else column == value for column, value in columns]
            )
        ]


@dataclass(frozen=True)
class Measured:
    """What is measured of a run.

    Attributes
    ----------
    rows
        Step, layer, metric, value.
    points
        Frames with ``step``, ``layer``, ``probe`` and the probe's columns.
    features
        Tensors to dump, by their name in the file.
    layers
        Which of them are features of a layer, by the last part of their name.
    """

    rows: list[tuple[int, str, str, float]]
    points: list[pd.DataFrame] = field(default_factory=list)
    features: dict[str, torch.Tensor] = field(default_factory=dict)
    layers: tuple[str, ...] = ("H1",)


class JobContext:
    """The job around a procedure: its device, cores and folder, and what it is measured against.

    Parameters
    ----------
    spec
        The job's spec, whose section of the job is `settings`; of a measurement it has ``probes``.
    threads
        Cores that it may use.
    folder
        Where it may leave what a successor of a killed job continues from; None where it may not.
    frame
        Returns, of a run's keys and a step, what theory says that its state is measured against.
    """

    def __init__(
        self,
        spec: Spec,
        threads: int,
        folder: Path | None = None,
        frame: Callable[[Mapping[str, Any], int], dict[str, np.ndarray]] = lambda *_: {},
    ) -> None:
        self.settings, self.threads, self.frame = spec.job, threads, frame
        self.folder = folder
        # Whether a GPU and a compiler took part is known only once they have.
        self._spec, self._route = spec, "cpu"
        self._stack = ExitStack()
        self._when_written: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        """Begin; what is held is released when the context is left."""
        # How a sum is split over threads changes its last bits.
        torch.set_num_threads(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release what is held."""
        self._stack.close()

    @cached_property
    def device(self) -> torch.device:
        """A GPU of its own, or the CPU; the results then say on what class of device they are."""
        # Only when asked for: a job that stays on the CPU waits for no GPU.
        device = acquire_device()
        self._route = device_class(device)
        return device

    def compiled(self) -> None:
        """Note that compiled code computes the results: they are not those of the same device."""
        self._route += ", compiled"

    @property
    def provenance(self) -> dict[str, Any]:
        """What determines the results."""
        return self._spec.provenance(self._route)

    def hold(self, context: AbstractContextManager, when_written: Callable[[], None]) -> None:
        """Enter a context, such as a locked folder of checkpoints, until the job ends.

        `when_written` is called once the results are written: what served to continue may go.
        """
        self._stack.enter_context(context)
        self._when_written.append(when_written)

    def written(self) -> None:
        """Note that the results are written."""
        # Only now: until the results are there a killed job needs what it left.
        for call in self._when_written:
            call()
