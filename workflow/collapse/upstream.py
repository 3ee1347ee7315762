"""What a job reads beside its spec: data sets, and the runs of other experiments."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from collapse.artifacts import read_tensors
from collapse.data.dataset import Dataset, load
from collapse.errors import InputError


class Upstream:
    """The files that a job reads.

    Parameters
    ----------
    references
        For each run, by the path of a reference in its config, which file it is about, and the run
        in it.
    reads
        The job's files by role: ``data``, the data set or none, and ``references``, those that
        references are about.
    """

    def __init__(self, references: Mapping[str, Any], reads: Mapping[str, Sequence[str]]) -> None:
        self._references = references
        self._data, self._files = reads["data"], reads["references"]
        # Several runs may refer to one file: it is read once.
        self._read = cache(RecordedStates)

    def data_set(self) -> Dataset | None:
        """Return the data set that the job reads, None where it reads none."""
        return load(self._data[0]) if self._data else None

    def last_state(self, run: str, reference: str) -> dict[str, np.ndarray]:
        """Return the last recorded state of the run that a run refers to, as arrays by name.

        `run` is the id of the run that reads, `reference` the path of the reference in its config.
        Free features have a column per sample. Of a run that diverged it is the last state before.
        """
        states, name = self._referred(run, reference)
        return states.at(name)

    def features(self, run: str, reference: str) -> dict[str, np.ndarray]:
        """Return what the run that a run refers to has dumped of its last state, by name.

        Raises
        ------
        InputError
            If that run diverged: features on the way are no trained network's.
        """
        states, name = self._referred(run, reference)
        step = states.run(name)["diverged_at"]
        if step is not None:
            raise InputError(
                f"{states.path}: {name} diverged at step {step}, its features are none"
            )
        return states.at(name)

    def _referred(self, run: str, reference: str) -> tuple["RecordedStates", str]:
        index, name = self._references[run][reference]
        return self._read(self._files[index]), name


class RecordedStates:
    """The recorded states of runs, read back from a file when they are first asked for.

    Attributes
    ----------
    path
        The file.
    attributes
        What it says besides: ``runs`` with their ids, keys, recorded steps and status.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return read_tensors(self.path)

    @property
    def _tensors(self) -> dict[str, np.ndarray]:
        return self._read[0]

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says besides."""
        return self._read[1]

    @cached_property
    def _runs(self) -> dict[str, dict[str, Any]]:
        return {run["id"]: run for run in self.attributes.get("runs", ())}

    @cached_property
    def _states(self) -> dict[str, dict[str, np.ndarray]]:
        """States by run and step: looking for each through all names would take their square."""
        states: dict[str, dict[str, np.ndarray]] = {}
        for name, array in self._tensors.items():
            prefix, _, variable = name.rpartition("/")
            states.setdefault(prefix, {})[variable] = array
        return states

    def run(self, name: str) -> dict[str, Any]:
        """Return what the file says of a run: its id, keys, recorded steps and status.

        Raises
        ------
        InputError
            If the file holds no such run.
        """
        if name not in self._runs:
            raise InputError(f"{self.path}: holds no run '{name}'")
        return self._runs[name]

    def at(self, run: str, step: int | None = None) -> dict[str, np.ndarray]:
        """Return a run's state at a recorded step, or at its last, as arrays by name.

        Tensors are ``{run}/{step:06d}/{name}``; what all states share, such as labels, has a plain
        name and is part of each. Free features ``H`` that were reduced to fewer
        columns are expanded by ``{run}/basis``.

        Raises
        ------
        InputError
            If the file holds no such state.
        """
        steps = self.run(run)["steps"]
        # A start that is not finite leaves no state at all.
        if not steps:
            raise InputError(f"{self.path}: {run} diverged before a state was recorded")
        prefix = f"{run}/{steps[-1] if step is None else step:06d}"
        if prefix not in self._states:
            raise InputError(f"{self.path}: holds no state {prefix}/")
        state = self._states.get("", {}) | self._states[prefix]
        if f"{run}/basis" in self._tensors:
            # As the solver does it: another library's product differs in the last bits.
            pair = (state["H"], self._tensors[f"{run}/basis"])
            columns, basis = (torch.from_numpy(array) for array in pair)
            state["H"] = (columns @ basis).numpy()
        return state


def feature_layers(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the layers whose features a network dumped: ``hidden1`` ... ``H1``."""
    hidden = sorted((n for n in tensors if n.startswith("hidden")), key=lambda n: int(n[6:]))
    return [*hidden, *(name for name in ("H1",) if name in tensors)]


def features_by_class(
    tensors: Mapping[str, np.ndarray], layer: str, classes: int, samples_per_class: int
) -> torch.Tensor:
    """Return the features of the first samples of each class, class by class, (K n) x d, float64.

    `tensors` are what a network dumped: features by layer, N x d, and ``labels``, N.

    Raises
    ------
    InputError
        If there is no such layer, there are other classes, or a class has fewer samples.
    """
    if layer not in feature_layers(tensors):
        allowed = ", ".join(feature_layers(tensors))
        raise InputError(f"no layer {layer} in what the network dumped, allowed are {allowed}")
    if "labels" not in tensors:
        raise InputError("a network with real targets found, needed is one with labels")
    labels = tensors["labels"]
    sizes = np.bincount(labels)
    if len(sizes) != classes:
        raise InputError(f"{len(sizes)} classes found, problem.classes is {classes}")
    if sizes.min() < samples_per_class:
        message = f"{samples_per_class} samples of each class asked for, allowed is up to"
        raise InputError(f"{message} {sizes.min()}")
    places = [np.flatnonzero(labels == k)[:samples_per_class] for k in range(classes)]
    return torch.from_numpy(tensors[layer][np.concatenate(places)]).double()
