"""What every problem over free variables is: named variables and an objective, in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.problems.parameters import Flat, Parameters, add_decay


class Problem(ABC):
    """A batch of B problems of one shape.

    A subclass says its shapes and its objective; the gradient is then PyTorch's. One that knows
    more (an analytic gradient, an exact reduction) overrides what it does better.
    """

    @property
    @abstractmethod
    def batch(self) -> int:
        """The number of problems, B."""

    @abstractmethod
    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""

    @abstractmethod
    def select(self, index: slice) -> Problem:
        """Return the problems of a slice of the batch."""

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each variable of one problem, matrices first."""

    @property
    def device(self) -> torch.device:
        """Where the problem's tensors live."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the problem's variables."""
        return torch.float64

    def initial(self, seeds: Sequence[int], init_scale: float | Tensor) -> Parameters:
        """Draw random starts: every variable i.i.d. N(0, init_scale^2).

        One seed per problem; `init_scale` is for all problems or one each, (B,). Each problem draws
        from a generator of its own, on the CPU, in the order of its variables: its start depends on
        its seed and shape only, neither on the batch nor on the device.
        """
        # One standard deviation stands for all problems.
        scales = torch.as_tensor(init_scale, dtype=self.dtype).expand(len(seeds))
        # On the CPU: a GPU's generator gives other numbers.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        variables = {
            name: torch.stack(
                [self.draw(name, *source) for source in zip(generators, scales, strict=True)]
            )
            for name in self.shapes
        }
        return Parameters(**{name: tensor.to(self.device) for name, tensor in variables.items()})

    def draw(self, name: str, generator: torch.Generator, scale: Tensor) -> Tensor:
        """Draw the start of one variable of one problem."""
        return scale * torch.randn(self.shapes[name], generator=generator, dtype=self.dtype)

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient in every variable, shapes as `parameters`."""
        with torch.enable_grad():
            leaves = parameters.map(lambda tensor: tensor.detach().requires_grad_())
            # The problems share no variable: the gradient of the sum is that of each.
            total = self.objective(leaves).sum()
            # Zeros for a variable that the objective does not contain.
            slopes = iter(torch.autograd.grad(total, leaves.tensors(), materialize_grads=True))
        return leaves.map(lambda _: next(slopes))

    def accumulator(
        self,
        position: Flat,
        velocity: Flat,
        scale: Tensor,
        momentum: float,
        update: Callable[[Tensor, Tensor, Tensor], None] = add_decay,
    ) -> Callable[[], None]:
        """Return a function that does velocity = momentum * velocity + scale * gradient, in place.

        Parameters
        ----------
        position, velocity : Flat
            Where the gradient is taken, read at every call, and what every call updates.
        scale : Tensor
            One factor per problem, (B,).
        momentum : float
            Factor of the old velocity.
        update : callable
            Ends each call, given the rows of position and velocity and the penalties' factors,
            which are 0 where, as here, the gradient holds the penalties already.

        Returns
        -------
        callable
            Takes and returns nothing and never waits for the device, so that it can be captured
            in a CUDA graph.
        """
        no_decay = position.rows.new_zeros(len(position.rows), 1)
        # One axis of a problem's factor for each of its variable's, so that they broadcast.
        pairs = [(t, scale.view(-1, *[1] * (t.ndim - 1))) for t in velocity.parameters.tensors()]

        def accumulate_gradient() -> None:
            slopes = self.gradient(position.parameters).tensors()
            for (speed, factor), slope in zip(pairs, slopes, strict=True):
                speed.mul_(momentum).addcmul_(slope, factor)
            update(position.rows, velocity.rows, no_decay)

        return accumulate_gradient

    def resident(
        self, position: Flat, velocity: Flat, learning_rate: Tensor, momentum: float
    ) -> Callable[[int], None] | None:
        """Return what takes so many steps of gradient descent, in place, in one kernel.

        None where there is no such kernel, as here; the arguments are as in `accumulator`.
        """
        return None

    def hessian(self, parameters: Parameters) -> Tensor:
        """Return the second derivatives of each problem in all its variables, (B, V, V)."""
        with torch.enable_grad():
            leaves = parameters.map(lambda tensor: tensor.detach().requires_grad_())
            # Of the objective: a gradient of the problem's own need not be differentiable.
            total = self.objective(leaves).sum()
            slopes = torch.autograd.grad(
                total, leaves.tensors(), create_graph=True, materialize_grads=True
            )
            # Zeros of a variable in which the objective is linear, or that it does not contain.
            pairs = zip(slopes, leaves.tensors(), strict=True)
            flat = torch.cat([(slope + 0 * leaf).flatten(1) for slope, leaf in pairs], 1)
            # The sum over the batch loses nothing: no problem's gradient depends on another's.
            units = torch.eye(flat.shape[1]).to(flat)
            rows = torch.autograd.grad(flat.sum(0), leaves.tensors(), units, is_grads_batched=True)
        return torch.cat([row.flatten(2) for row in rows], 2).movedim(1, 0)

    def optimum(self, seeds: Sequence[int]) -> Parameters:
        """Return a minimiser that is known in closed form, turned at random by each seed.

        Raises
        ------
        InputError
            If none is known.
        """
        raise InputError(f"start: no optimum of a {type(self).__name__} is known in closed form")

    def posed_at(self, start: Parameters) -> Problem:
        """Return the problem as its start poses it: one may be held near where it begins."""
        return self

    def start_fault(self, start: Parameters) -> tuple[int, str] | None:
        """Return which of the problems cannot start there, and why, or None if all can."""
        return None

    def homotopy(self, start: Parameters) -> Iterator[Problem]:
        """Yield problems that lead from a start to this one, each from the last one's end."""
        yield self

    def decoupled(
        self, start: Parameters
    ) -> tuple[Problem, Parameters, Callable[[Parameters], Parameters]]:
        """Return problems that share no variable and make up these, and their start.

        With them a function that makes the variables of these of theirs.
        """
        return self, start, lambda parameters: parameters

    def unstuck(self, parameters: Parameters) -> Parameters:
        """Return a point beside one that may be stationary without being a minimum."""
        return parameters

    @property
    def speed(self) -> float:
        """How fast a gradient flow runs: d parameters/dt = -speed * gradient."""
        return 1.0

    def stiffness(self, parameters: Parameters) -> Tensor | None:
        """Return the fastest rate of decay of a gradient flow, (B,), None where it is not known.

        An explicit integrator that steps further than its inverse makes what decays oscillate.
        """
        return None

    def reduced(self, start: Parameters) -> tuple[Problem, Parameters, Tensor | None]:
        """Return an exactly equivalent smaller problem, its start and the basis of its columns.

        The basis is (B, C, N) with H = columns @ basis, or None where nothing was reduced.
        """
        return self, start, None

    def with_decay(self, weight_decay: Tensor, feature_decay: Tensor) -> Problem:
        """Return the same problems under other penalties, (B, M) and (B,), for a sweep.

        Raises
        ------
        InputError
            If the problem's decays do not scale together.
        """
        raise InputError(f"sweep: the decays of a {type(self).__name__} do not scale together")
