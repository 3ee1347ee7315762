"""Optimisations over free features."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from collapse.config.bases import ProbeKind, SolverKind
from collapse.config.costs import PRODUCTS, Work, asked
from collapse.config.experiment import Experiment, Resources
from collapse.config.section import (
    Decays,
    NonNegative,
    Positive,
    check_layers,
    check_tied,
    fault,
)
from collapse.config.section import Section as Base
from collapse.config.slots import slot, slot_list
from collapse.data.catalogue import DataSet
from collapse.grid import tied
from collapse.problems.decay_path import decay_path

PENALTIES = ("weight_decay", "feature_decay")
MOST_ENTRIES = 10**11
"""Numbers in one problem's variables: several times that in float64 no machine holds."""


class Sweep(Base):
    """A path of decays, each solved from the end of the one before."""

    scaled_decay: list[Positive] = Field(
        min_length=1,
        description="Scaled decays b/n of the largest class; all decays scale together.",
    )
    direction: Literal["up", "down"] = Field("up", description="Order of the path.")
    perturbation: NonNegative = Field(
        0.0, description="Std of the Gaussian noise added to every parameter between decays."
    )


class Section(Experiment):
    """An optimisation over free features; float64, one batch per shape."""

    signature: ClassVar = "problem"
    verb: ClassVar = "solve"
    measured_by_group: ClassVar = False
    seeds_in_folder: ClassVar = False
    compute_only: ClassVar = frozenset({"optimiser", "start"})
    measure_only: ClassVar = frozenset({"probes"})

    procedure: Literal["problem"] = Field("problem", description="How it is carried out.")
    problem: slot("problem") = Field(description="The objective.")
    start: slot("start") = Field(
        {"kind": "random"}, validate_default=True, description="Where the solver starts."
    )
    optimiser: slot("optimiser") | list[slot("optimiser")] = Field(
        description="The solver; of a list each starts where the one before ended."
    )
    sweep: Sweep | None = Field(None, description="Path of decays; null keeps them constant.")
    weight_decay: Decays | None = Field(
        None, description="lambda_W in 1/2 lambda_W ||W_m||^2: W_1 to W_M, or one number for all."
    )
    feature_decay: NonNegative | None = Field(
        None,
        description="lambda_H in 1/2 lambda_H ||H||^2, summed over all samples; of a regression "
        "in 1/(2M) lambda_H ||H||^2, a mean over them. Null: as weight_decay.",
    )
    probes: slot_list("probe") = Field(
        default_factory=list, description="What is measured beside the problem's own rows."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        if not self.solvers:
            raise fault("optimiser", "[] found, allowed is an optimiser, or a list of them")
        self._check_penalties()
        if self.problem.entries > MOST_ENTRIES:
            message = f"{self.problem.entries:.2g} numbers found in one problem's variables"
            raise fault("problem", f"{message}, allowed are {MOST_ENTRIES:g}")
        check_layers("weight_decay", self.weight_decay, self.problem.layers)
        check_tied(self, "feature_decay")
        if self.sweep:
            self._check_sweep()
        self.start.check(self)
        for place, probe in enumerate(self.probes):
            if isinstance(probe, ProbeKind):
                self._check_probe(f"probes.{place}", probe)
        return self

    def _check_probe(self, place: str, probe: ProbeKind) -> None:
        known = (*self.problem.probes, *self.problem.further_probes)
        if probe.of_networks:
            raise fault(f"{place}.kind", f"{probe.kind} found, it measures networks alone")
        if probe.kind not in known:
            message = f"{probe.kind} found, it measures no {self.problem.kind} problem"
            raise fault(f"{place}.kind", message)
        for key, message in probe.misfits(self, None):
            raise fault(f"{place}.{key}", message)

    def _check_penalties(self) -> None:
        for key in PENALTIES:
            is_set = key in self.model_fields_set
            if key in self.problem.penalties and not is_set:
                raise fault(key, "is missing")
            if key not in self.problem.penalties and getattr(self, key) is not None:
                raise fault(key, f"found, a {self.problem.kind} problem has no such penalty")
        if "weight_decay" in self.problem.penalties and self.weight_decay is None:
            raise fault("weight_decay", "null found, allowed is a number or a list of numbers")
        # Null stands for a weight decay, which then has to be there.
        tied = "weight_decay" in self.problem.penalties
        if "feature_decay" in self.problem.penalties and self.feature_decay is None and not tied:
            raise fault("feature_decay", "null found, allowed is a number: W has no decay")
        for key in self.problem.positive:
            value = getattr(self, key)
            if value is not None and not np.all(np.asarray(value) > 0):
                message = f"{getattr(self, key)} found, allowed are numbers above 0"
                raise fault(key, message)
        if isinstance(self.weight_decay, list) and not self.problem.layered:
            raise fault("weight_decay", f"{self.weight_decay} found, allowed is a number")

    def _check_sweep(self) -> None:
        if not self.problem.sweeps:
            raise fault("sweep", f"found with a {self.problem.kind} problem, allowed is null")
        if not (isinstance(self.optimiser, SolverKind) and self.optimiser.sweeps):
            raise ValueError("a sweep follows gradient descent: optimiser.kind must be sgd")
        decays = self.weight_decay if isinstance(self.weight_decay, list) else [self.weight_decay]
        if not all([*decays, self.feature_decay]):
            raise ValueError("a sweep scales the decays: none of them may be 0")

    @property
    def solvers(self) -> list[SolverKind]:
        """The optimisers in their order."""
        return self.optimiser if isinstance(self.optimiser, list) else [self.optimiser]

    @property
    def batched(self) -> frozenset[str]:
        """What changes no tensor's shape."""
        paths = {*PENALTIES, "sweep.direction"}
        paths |= {f"problem.{key}" for key in self.problem.batched}
        if isinstance(self.optimiser, SolverKind):
            paths |= {f"optimiser.{key}" for key in self.optimiser.batched}
        return frozenset(paths)

    @property
    def clock(self) -> str:
        """The decay of a sweep, or what its solver follows; of several solvers they are steps."""
        if self.sweep:
            return "scaled_decay"
        return self.solvers[0].clock if len(self.solvers) == 1 else "step"

    def length(self) -> tuple[int, str]:
        """Return the steps that its solvers may take, at all decays of a sweep."""
        stages = len(self.sweep.scaled_decay) if self.sweep else 1
        return stages * sum(each.length for each in self.solvers), "steps"

    def resources(self, runs: Sequence[Self], data_set: DataSet | None) -> Resources:
        """Return what follows from the problem's size and the solvers' steps."""
        entries, solvers, count = self.problem.entries, self.solvers, len(runs)
        cores = max(solver.cores(count, entries) for solver in solvers)
        stages = len(self.sweep.scaled_decay) if self.sweep else 1
        passes = stages * sum(solver.passes(entries) for solver in solvers)
        # Of a solver that takes one problem after the other each has steps of its own.
        steps = stages * sum(
            solver.calls(entries) * (1 if solver.side_by_side else count) for solver in solvers
        )
        numbers = entries + self.problem.products / PRODUCTS
        # Records, which are copied once to be written, and what a solver keeps beside them.
        records = entries * stages * sum(solver.records for solver in solvers) * count
        held = 2 * records + 50 * entries * count + max(solver.held(entries) for solver in solvers)
        work = Work(
            "problem", numbers * passes * count, steps, 8 * held, written_bytes=8 * records
        )  # fmt: skip
        return asked(work, cores, gpu=all(solver.side_by_side for solver in solvers))

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet | None) -> Resources:
        """Return what follows from the problem's size and the number of states."""
        entries, stages = self.problem.entries, len(self.sweep.scaled_decay) if self.sweep else 1
        states = stages * sum(solver.records for solver in self.solvers) * len(runs)
        # Each a few decompositions, many states at once.
        work = Work("problem", 100 * entries * states, 2 * states, 8 * entries * (states + 100))
        return asked(work, gpu=False)

    def probes_for(self, data_set: DataSet | None) -> list[str]:
        """Return the problem's own."""
        return list(self.problem.probes)

    def facts(self) -> dict[str, bool]:
        """Return whether it starts near a known optimum: theory may be about what it is held to."""
        return {"near_optimum": self.start.near_optimum}

    def stages(self) -> list[tuple[int | None, dict[str, Any]]]:
        """Return the ends of a sweep's stages with their decays."""
        if self.sweep is None:
            return super().stages()
        # The solver takes so many steps at each decay of the path, one after the other.
        path = decay_path(tied(self.model_dump(mode="json", exclude={"grid", "seeds"})))
        return [
            (
                self.optimiser.steps * (stage + 1),
                {"weight_decay": weights.tolist(), "feature_decay": float(feature)},
            )
            for stage, (weights, feature) in enumerate(
                zip(path.weight_decay, path.feature_decay, strict=True)
            )
        ]
