"""Deep linear unconstrained-feature problems: Z = W_M ... W_1 H_1 + b 1^T against targets.

Objective of one problem, with columns as samples and N samples in all::

    MSE: 1/(2N) ||Z - Y||_F^2     +  penalties
    CE:  1/N sum_i CE(z_i, y_i)   +  penalties
    penalties = sum_m weight_decay_m/2 ||W_m||_F^2 + feature_decay/2 ||H_1||_F^2

The bias is not penalised. Source: Dang et al., "Neural Collapse in Deep Linear Networks"
(ICML 2023), problems with M linear layers, bias-free or with a last-layer bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.problems import resident
from collapse.problems.base import Problem
from collapse.problems.parameters import Flat, Parameters, add_decay, flat_copy

LOSSES = ("mse", "ce")


def class_targets(class_sizes: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Return one-hot targets Y of samples that are ordered by class, (K, N), float64.

    `class_sizes` are n_1, ..., n_K, each at least 1, with N = sum n_k. The targets' device is that
    of the problem.

    Raises
    ------
    InputError
        If there is no class or a class is empty.
    """
    if not class_sizes or min(class_sizes) < 1:
        raise InputError(
            f"class_sizes: {list(class_sizes)}; need at least one sample in each class"
        )
    labels = torch.repeat_interleave(torch.tensor(class_sizes))
    one_hot = torch.nn.functional.one_hot(labels, len(class_sizes))
    return one_hot.T.contiguous().to(device, torch.float64)


@dataclass(frozen=True, eq=False)
class DeepLinear(Problem):
    """A batch of B deep linear problems of one shape.

    Attributes
    ----------
    targets : Tensor
        Y, (K, N), shared by the batch: one-hot or soft labels, or any real targets for MSE.
        Its device and dtype are those of the whole problem.
    widths : tuple of int
        d_1, ..., d_M: the inputs of W_1, ..., W_M; W_M has K outputs.
    weight_decay : Tensor
        Penalties of W_1, ..., W_M, (B, M).
    feature_decay : Tensor
        Penalty of H_1, (B,), on the plain sum over all samples.
    loss : {"mse", "ce"}
        The data term, see the module's objective.
    bias : bool
        Whether the last layer has a bias (never penalised).
    ones : Tensor or None
        What the bias is multiplied by, (C,). None means 1_N; a reduced problem carries 1_N in its
        own basis.
    samples : int or None
        N of the factor 1/N. None means the number of columns; a reduced problem has fewer columns
        than samples.

    Raises
    ------
    InputError
        If the loss is unknown, the shapes do not fit, or CE targets are no distributions.
    """

    targets: Tensor
    widths: tuple[int, ...]
    weight_decay: Tensor
    feature_decay: Tensor
    loss: str = "mse"
    bias: bool = False
    ones: Tensor | None = None
    samples: int | None = None

    def __post_init__(self):
        """Check the shapes and fill in what an unreduced problem leaves open."""
        if self.loss not in LOSSES:
            raise InputError(f"loss: {self.loss!r}; allowed are {', '.join(LOSSES)}")
        if self.weight_decay.ndim != 2 or self.weight_decay.shape[1] != len(self.widths):
            shape = tuple(self.weight_decay.shape)
            raise InputError(f"weight_decay: shape {shape}; need (B, {len(self.widths)})")
        if self.feature_decay.shape != self.weight_decay.shape[:1]:
            shape = tuple(self.feature_decay.shape)
            raise InputError(f"feature_decay: shape {shape}; need ({len(self.weight_decay)},)")
        for name in ("weight_decay", "feature_decay"):
            if getattr(self, name).dtype != self.targets.dtype:
                dtype = getattr(self, name).dtype
                raise InputError(f"{name}: {dtype}; need the targets' {self.targets.dtype}")
        # The gradient used for CE, softmax(z) - y, holds only if the entries of y sum to 1.
        if self.loss == "ce" and not _are_distributions(self.targets):
            raise InputError(
                "targets: a column is no distribution; ce needs columns >= 0 that sum to 1"
            )
        options = {"dtype": self.targets.dtype, "device": self.targets.device}
        if self.ones is None:
            # The dataclass is frozen, also for its own initialisation.
            object.__setattr__(self, "ones", torch.ones(self.targets.shape[1], **options))
        if self.samples is None:
            object.__setattr__(self, "samples", self.targets.shape[1])

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.feature_decay)

    @property
    def device(self) -> torch.device:
        """That of the targets."""
        return self.targets.device

    @property
    def dtype(self) -> torch.dtype:
        """That of the targets."""
        return self.targets.dtype

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of H_1, W_1, ..., W_M and, if there is one, b."""
        classes, samples = self.targets.shape
        shapes = {"H": (self.widths[0], samples)}
        outputs = zip((*self.widths[1:], classes), self.widths, strict=True)
        shapes |= {f"W{m}": shape for m, shape in enumerate(outputs, 1)}
        return shapes | ({"bias": (classes,)} if self.bias else {})

    def draw(self, name: str, generator: torch.Generator, scale: Tensor) -> Tensor:
        """Draw the start of one variable of one problem.

        H_1 and the weights are i.i.d. N(0, init_scale^2), the bias is uniform in +-1/sqrt(d_M)
        (PyTorch's default for a linear layer), as in the paper's released code with
        init_scale = 0.1.
        """
        if name != "bias":
            return super().draw(name, generator, scale)
        uniform = torch.rand(self.shapes[name], generator=generator, dtype=self.dtype)
        return self.widths[-1] ** -0.5 * (2 * uniform - 1)

    def output(self, parameters: Parameters) -> Tensor:
        """Return Z = W_M ... W_1 H_1 + b 1^T, (B, K, C)."""
        product = parameters.weights[-1]
        for weight in reversed(parameters.weights[:-1]):
            # From the left: K rows throughout, no product of two d x d matrices.
            product = product @ weight
        output = product @ parameters.features
        if parameters.bias is not None:
            output = output + parameters.bias.unsqueeze(-1) * self.ones
        return output

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        output = self.output(parameters)
        if self.loss == "mse":
            data = (output - self.targets).square().sum((1, 2)) / 2
        else:
            data = -(self.targets * output.log_softmax(1)).sum((1, 2))
        penalty = self.feature_decay * parameters.features.square().sum((1, 2))
        for decay, weight in zip(self.weight_decay.unbind(1), parameters.weights, strict=True):
            penalty = penalty + decay * weight.square().sum((1, 2))
        return data / self.samples + penalty / 2

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient in every variable, shapes as `parameters`."""
        gradient = flat_copy(parameters.map(torch.zeros_like))
        ones = torch.ones_like(self.feature_decay)
        # A velocity of 0 and a scale of 1 leave the gradient itself.
        self.accumulator(flat_copy(parameters), gradient, ones, 0.0)()
        return gradient.parameters

    def accumulator(
        self,
        position: Flat,
        velocity: Flat,
        scale: Tensor,
        momentum: float,
        update: Callable[[Tensor, Tensor, Tensor], None] = add_decay,
    ) -> Callable[[], None]:
        """Return a function that accumulates the analytic gradient, see `Problem.accumulator`.

        Notes
        -----
        With R = dL/dZ (K x C), products P_m = W_M ... W_{m+1} (K x d_{m+1}) and
        S_m = R H_1^T W_1^T ... W_{m-1}^T (K x d_m), the gradients are P_m^T S_m in W_m, P_0^T R in
        H_1, S_M in W_M and R 1 in b: all matrices in between have K rows and no product of two
        d x d matrices occurs. The scale goes into R, the momentum into the matrix products that end
        in `velocity`. A small batch costs a GPU as much as the number of calls: neighbouring
        variables of one shape get their gradients in one call, all variables their penalties.
        """
        *hidden, last = position.parameters.weights
        variables, speeds = [position.parameters.features, *hidden], velocity.parameters
        layers = len(variables)
        shapes = [variable.shape for variable in variables]
        starts = [m for m in range(layers) if m == 0 or shapes[m] != shapes[m - 1]]
        # Neighbours of one shape lie in one block of the buffer, see `Flat.stacked`: a stack each.
        stacks = [*pairwise([*starts, layers])]
        lefts, rights = (
            [self._rows(end - first, shapes[first][axis]) for first, end in stacks]
            for axis in (1, 2)
        )
        tape: list[Callable] = []
        # P_{M-1} is W_M itself; within a stack it has to be a copy.
        if starts[-1] == layers - 1:
            lefts[-1] = last
        else:
            tape.append(partial(lefts[-1][-self.batch :].copy_, last))
        # One K x columns matrix for each variable: the outer products P_m and the inner S_m.
        outer = [product for stack in lefts for product in stack.split(self.batch)]
        inner = [product for stack in rights for product in stack.split(self.batch)]
        add = partial(torch.Tensor.baddbmm_, beta=momentum)

        for m in range(layers - 1, 0, -1):
            tape.append(partial(torch.bmm, outer[m], variables[m], out=outer[m - 1]))
        # The product of all layers is ready: the residual becomes the first inner product, S_0 = R.
        tape += self._residual_calls(outer[0], position.parameters, inner[0], scale / self.samples)
        if speeds.bias is not None:
            # R 1 as a matrix product, for the momentum and the sum to be one call.
            ones = self.ones.view(1, -1, 1).expand(self.batch, -1, -1)
            tape.append(partial(add, speeds.bias.unsqueeze(2), inner[0], ones))
        for m, variable in enumerate(variables[:-1]):
            tape.append(partial(torch.bmm, inner[m], variable.mT, out=inner[m + 1]))
        # The last layer, whose gradient is S_M itself, stands outside the stacks.
        tape.append(partial(add, speeds.weights[-1], inner[-1], variables[-1].mT))
        for (first, end), left, right in zip(stacks, lefts, rights, strict=True):
            tape.append(partial(add, velocity.stacked(first, end), left.mT, right))
        decays = torch.cat([self.feature_decay.unsqueeze(1), self.weight_decay], 1)
        # The factor of H_1 and of each layer; the bias gets 0, as it is not penalised.
        decay = position.column(scale.unsqueeze(1) * decays)
        tape.append(partial(update, position.rows, velocity.rows, decay))

        def accumulate_gradient() -> None:
            for call in tape:
                call()

        return accumulate_gradient

    def resident(
        self, position: Flat, velocity: Flat, learning_rate: Tensor, momentum: float
    ) -> Callable[[int], None] | None:
        """Return what takes so many steps in one kernel, of the MSE on a GPU, in float64.

        None where all layers are not of one width, or the problem is too large, see `resident`.
        """
        one_width = len(set(self.widths)) == 1
        if not (self.device.type == "cuda" and self.loss == "mse" and one_width):
            return None
        if self.dtype != torch.float64:
            return None
        classes, columns = self.targets.shape
        shape = resident.Shape(len(self.widths), classes, self.widths[0], columns, self.bias)
        decays = torch.cat([self.feature_decay.unsqueeze(1), self.weight_decay], 1)
        return resident.descent(
            shape, position, velocity, self.targets, self.ones, self.samples, decays,
            learning_rate, momentum,
        )  # fmt: skip

    def _rows(self, variables: int, columns: int) -> Tensor:
        """Return room for one K x columns matrix per variable and problem."""
        return self.targets.new_empty(variables * self.batch, len(self.targets), columns)

    def _residual_calls(
        self, product: Tensor, parameters: Parameters, residual: Tensor, scale: Tensor
    ) -> list[Callable]:
        """Return the calls that leave scale * N * dL/dZ in `residual`."""
        scale = scale.view(-1, 1, 1)
        calls: list[Callable] = [partial(torch.bmm, product, parameters.features, out=residual)]
        if parameters.bias is not None:
            calls.append(partial(residual.addcmul_, parameters.bias.unsqueeze(-1), self.ones))
        if self.loss == "ce":
            calls.append(partial(torch.softmax, residual, 1, out=residual))
        return [
            *calls,
            # scale (Z - Y) in one pass: -scale Y is a constant of the run.
            partial(torch.addcmul, -scale * self.targets, residual, scale, out=residual),
        ]

    def select(self, index: slice) -> DeepLinear:
        """Return the problems of a slice of the batch."""
        return self.with_decay(self.weight_decay[index], self.feature_decay[index])

    def with_decay(self, weight_decay: Tensor, feature_decay: Tensor) -> DeepLinear:
        """Return the same problems under other penalties, (B, M) and (B,)."""
        return replace(self, weight_decay=weight_decay, feature_decay=feature_decay)

    def reduced(self, start: Parameters) -> tuple[DeepLinear, Parameters, Tensor | None]:
        """Return an equivalent problem with fewer columns, exact for MSE from this start.

        Let U be an orthonormal basis of the row space of [Y; 1^T] (for one-hot targets the class
        indicators over sqrt(n_k)) and V one of the row space of H_1 - H_1 U U^T. Every gradient
        in H_1 is A H_1 + B [Y; 1^T], so H_1 never leaves the span of Q = [U, V], and Q^T is an
        isometry on it. Gradient descent with momentum and L-BFGS use inner products only; hence
        both may run on H_1 Q with targets Y Q and ones 1^T Q, keeping 1/(2N).

        Returns
        -------
        problem : DeepLinear
            With C = rank U + d_1 columns, or this problem itself when that is not fewer than N, or
            the loss is CE.
        start : Parameters
            `start`, which has all N columns, in the problem's.
        basis : Tensor or None
            Q^T, (B, C, N), so that H_1 = features @ basis; None when nothing was reduced.
        """
        shared = self._row_space()
        samples, rank = shared.shape
        if self.loss != "mse" or rank + self.widths[0] >= samples:
            return self, start, None
        spanning = torch.cat([shared.expand(self.batch, -1, -1), start.features.mT], dim=2)
        basis = torch.linalg.qr(spanning).Q
        # QR returns the columns of U up to sign: put back, so that the targets are the same for the
        # whole batch.
        basis[:, :, :rank] = shared
        problem = replace(
            self,
            targets=_pad(self.targets @ shared, self.widths[0]),
            ones=_pad(self.ones @ shared, self.widths[0]),
        )
        start = start.replaced(H=start.features @ basis)
        return problem, start, basis.mT

    def _row_space(self) -> Tensor:
        """Return an orthonormal basis of the rows of [Y; 1^T], (N, rank)."""
        rows = torch.cat([self.targets, self.ones.unsqueeze(0)])
        _, singular, right = torch.linalg.svd(rows, full_matrices=False)
        # The usual bound for a numerical rank: 1^T is the sum of one-hot rows.
        floor = max(rows.shape) * torch.finfo(rows.dtype).eps * singular[0]
        return right[singular > floor].T


def _pad(values: Tensor, columns: int) -> Tensor:
    """Append zero columns: targets and ones have no part along the basis vectors V."""
    return torch.nn.functional.pad(values, (0, columns))


def _are_distributions(targets: Tensor) -> bool:
    # Soft labels are normalised in floating point: their sums differ from 1 by rounding.
    return bool((targets >= 0).all() and ((targets.sum(0) - 1).abs() < 1e-9).all())


def answers(config: Mapping) -> Tensor:
    """Return the labels that a run is measured against, N."""
    return torch.repeat_interleave(torch.tensor(config["problem"]["class_sizes"]))


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> DeepLinear:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem`` (class_sizes, depth, widths, loss, bias: the same for all),
    ``weight_decay`` and ``feature_decay``.
    """
    shape = configs[0]["problem"]
    depth, widths = shape["depth"], shape["widths"]
    options = {"dtype": torch.float64, "device": device}
    decays = [torch.tensor(config["weight_decay"], **options).expand(depth) for config in configs]
    return DeepLinear(
        targets=class_targets(shape["class_sizes"], device),
        # One width stands for all layers.
        widths=tuple(widths) if isinstance(widths, Sequence) else (widths,) * depth,
        weight_decay=torch.stack(decays),
        feature_decay=torch.tensor([config["feature_decay"] for config in configs], **options),
        loss=shape["loss"],
        bias=shape["bias"],
    )
