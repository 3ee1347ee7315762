"""Features that come in batches, as often as they are asked for and never all at once."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from collapse.errors import InputError
from collapse.metrics import shards
from collapse.metrics.checks import check_features, check_labels, check_targets
from collapse.metrics.rows import Rows, full_precision, put_back, row_blocks

MOST_CLASSES = 10**6
"""Labels are below it; a larger one, a stray number, would ask for gigabytes of counts."""
# How far sums of features may differ from pass to pass, relative to those of their magnitudes: as
# much as batches of other samples round otherwise.
SAME = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 1e-3, torch.float16: 1e-3}

Source = str | Path | Iterable | Callable[[], Iterable]


class Batches:
    """Features with their labels or targets, batch by batch.

    Metrics read them twice; what is kept is one batch, sums in float64 on its device, and of
    regressions the targets and at most d features.

    Parameters
    ----------
    source : path, iterable, or function that returns one
        A folder of safetensors files, each with ``features`` and ``labels`` or ``targets``; or
        pairs, such as a list, a DataLoader, or a function that begins a generator anew: of features
        (b x d) and labels (b integers) or targets (b x n floats), or of inputs, where there is a
        model. What a pair has beyond two is not looked at.
    model : Module, optional
        Makes features of inputs, on the device of its parameters: in eval mode, which is put back,
        without gradients, and in float32 without TF32 or autocast.
    head : str, optional
        Name of the module whose inputs are the features, and whose weight and bias are the
        classifier's; by default the last Linear of the model's modules.
    layer : str, optional
        Name of the module whose outputs, flattened, are the features instead, without a classifier.

    Raises
    ------
    InputError
        The source can be read once only or is none, or the model has no such module. While it is
        read: a batch is not as described, or a pass differs from the first.
    """

    def __init__(
        self,
        source: Source,
        model: nn.Module | None = None,
        *,
        head: str | None = None,
        layer: str | None = None,
    ) -> None:
        if not (model is None or isinstance(model, nn.Module)):
            raise InputError(f"model: found {type(model).__name__}, allowed is a torch.nn.Module")
        if model is None and not (head is None and layer is None):
            raise InputError("head, layer: found without a model, allowed are names of its modules")
        if not (head is None or layer is None):
            raise InputError("head, layer: found both, allowed is one of the two")
        self._begin = _beginning(source)
        self._model = _Tapped(model, head, layer) if model is not None else None
        self._targets: bool | None = None
        self._ahead: Iterator | None = None

    @property
    def of_targets(self) -> bool:
        """Whether the batches bring targets, not labels."""
        if self._targets is None:
            batches = self._opened()
            first = next(batches)
            self._targets = _pair(first, 0)[1].is_floating_point()
            # Not begun a second time: what loads it may be slow.
            self._ahead = put_back(first, batches)
        return self._targets

    @property
    def head(self) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias of the classifier; None where there is none."""
        if self._model is not None:
            return self._model.head
        return self._begin.head if isinstance(self._begin, _Folder) else (None, None)

    def __iter__(self) -> Iterator[tuple[Rows, Tensor]]:
        """Yield features (b x d), checked by themselves, with labels (b) or targets (b x n)."""
        targets = self.of_targets
        batches, self._ahead = self._ahead or self._opened(), None
        for number, batch in enumerate(batches):
            given, others = _pair(batch, number)
            with _naming(number):
                features = given if self._model is None else self._model.features(given)
                others = _checked(features, others, targets)
            yield features, others

    def _opened(self) -> Iterator:
        number = -1
        for number, batch in enumerate(self._begin()):  # noqa: B007
            yield batch
        if number < 0:
            raise InputError("batches: none came, allowed is at least one")

    def reading(self) -> "Reading":
        """Return the batches as samples that one measurement reads."""
        return Reading(self)


class Reading:
    """Batches as one measurement reads them: as often as it likes, the same each time.

    See `collapse.metrics.rows.Samples`.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._first: _Pass | None = None
        self._current = _Pass()

    @property
    def counts(self) -> Tensor:
        """K, samples of each label: in the first pass those met so far."""
        return (self._first or self._current).counts

    def blocks(self, columns: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Read once: yield features (b x d) and their labels (b) or targets (b x n), on one device.

        `columns` is that of `collapse.metrics.rows.row_blocks`.
        """
        current = self._current = _Pass()
        for number, (features, others) in enumerate(self._batches):
            with _naming(number):
                current.join(features, others)
            # On a GPU sums by class take a number for each class and row.
            for block, window in row_blocks(features, max(columns, len(current.counts))):
                current.add(block)
                yield block, others[window].to(block.device)
        if self._first is None:
            self._first = current
        self._first.compare(current)


class _Pass:
    """What one pass over batches has met: counts, shape and format, and sums of the features."""

    def __init__(self) -> None:
        self.counts = torch.zeros(0, dtype=torch.int64)
        self._shape: tuple[int, int] | None = None
        self._dtype: torch.dtype | None = None
        self._sums: Tensor | None = None

    def join(self, features: Rows, others: Tensor) -> None:
        """Check that a batch goes with those before, and count its labels if it has any."""
        dtype = features.dtype
        shape = features.shape[1], others.shape[1] if others.ndim == 2 else 0
        for name, found, first in zip(
            ("features", "targets"), shape, self._shape or shape, strict=True
        ):
            if found != first:
                raise InputError(f"{name}: {found} columns, allowed are the {first} of batch 0")
        if self._dtype not in (None, dtype):
            raise InputError(f"features: dtype {dtype}, allowed is the {self._dtype} of batch 0")
        self._shape, self._dtype = shape, dtype
        if others.ndim == 1:
            self._count(others)

    def _count(self, labels: Tensor) -> None:
        lowest, highest = torch.stack(torch.aminmax(labels)).tolist()
        if lowest < 0 or highest >= MOST_CLASSES:
            bad = lowest if lowest < 0 else highest
            raise InputError(f"labels: one is {bad}, allowed are 0 to {MOST_CLASSES - 1}")
        counts = torch.bincount(labels, minlength=len(self.counts)).cpu()
        counts[: len(self.counts)] += self.counts
        self.counts = counts

    def add(self, block: Tensor) -> None:
        """Add features to the sums, and their magnitudes."""
        wide = block.to(torch.float64)
        sums = torch.stack((wide.sum(0), wide.abs().sum(0)))
        self._sums = sums if self._sums is None else self._sums + sums

    def compare(self, other: "_Pass") -> None:
        """Refuse another pass that met other samples."""
        if not torch.equal(self.counts, other.counts):
            raise InputError(
                "labels: another pass over the batches found others, allowed are the same each time"
            )
        difference = (self._sums[0] - other._sums[0]).abs().sum()
        # NaN, which is told of elsewhere, is not larger.
        if difference > SAME[self._dtype] * self._sums[1].sum():
            raise InputError(
                "features: another pass over the batches found others (a random augmentation?), "
                "allowed are the same each time"
            )


class _Folder:
    """The batches of a folder of safetensors files."""

    def __init__(self, folder: str | Path) -> None:
        self._files = shards.files(folder)
        self._heads: dict[str, tuple[Path, Tensor]] = {}
        for path in self._files:
            for name, tensor in shards.read_head(path).items():
                other, before = self._heads.setdefault(name, (path, tensor))
                # By the path first: NaN, which is refused elsewhere, differs from itself.
                if other != path and not torch.equal(before, tensor):
                    raise InputError(f"{path}: {name} is not that of {other}, allowed is one")

    def __call__(self) -> Iterator[tuple[Rows, Tensor]]:
        for path in self._files:
            tensors = shards.read(path)
            names = [name for name in shards.OTHERS if name in tensors]
            if len(names) != 1:
                what = "both labels and targets" if names else "neither labels nor targets"
                raise InputError(f"{path}: features with {what}, allowed is one of the two")
            others = tensors[names[0]]
            # Batches take floats for targets: the name must say so, too.
            if others.is_floating_point() != (names[0] == "targets"):
                allowed = "floats" if names[0] == "targets" else "integers"
                raise InputError(f"{path}: {names[0]}: dtype {others.dtype}, allowed are {allowed}")
            yield tensors["features"], others

    @property
    def head(self) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias, None where no file has one."""
        return tuple(self._heads.get(name, (None, None))[1] for name in shards.HEAD)


class _Tapped:
    """A model whose features are read at one of its modules."""

    def __init__(self, model: nn.Module, head: str | None, layer: str | None) -> None:
        # What `torch.compile` returned holds the model under another name.
        model = getattr(model, "_orig_mod", model)
        self._model, self._of_output = model, layer is not None
        modules = dict(model.named_modules())
        if head is None and layer is None:
            linear = [name for name, each in modules.items() if isinstance(each, nn.Linear)]
            if not linear:
                raise InputError("model: it has no Linear, allowed is to name a head or a layer")
            head = linear[-1]
        name = head if layer is None else layer
        if name not in modules:
            listing = ", ".join(each for each in modules if each)
            raise InputError(f"model: it has no module '{name}' (there are: {listing})")
        self._name, self._module = name, modules[name]
        weight = getattr(self._module, "weight", None)
        if not self._of_output and (weight is None or weight.ndim != 2):
            raise InputError(f"head: '{name}' has no weight of K x d, allowed is a linear layer")

    @property
    def head(self) -> tuple[Tensor | None, Tensor | None]:
        """The classifier's weight and bias as they are now."""
        if self._of_output:
            return None, None
        bias = getattr(self._module, "bias", None)
        return self._module.weight.detach(), None if bias is None else bias.detach()

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the module is given, or puts out, of inputs on any device: b x d."""
        if not isinstance(inputs, Tensor):
            raise InputError(
                f"inputs: found {type(inputs).__name__}, allowed is a tensor, or a model that "
                "makes of one what yours takes"
            )
        device = next(self._model.parameters(), torch.empty(0)).device
        caught: list = []
        with self._tap(caught), _evaluating(self._model), full_precision(device):
            self._model(inputs.to(device))
        if len(caught) != 1 or not isinstance(caught[0], Tensor):
            found = f"called {len(caught)} times" if len(caught) != 1 else "not given one tensor"
            raise InputError(f"model: module '{self._name}' was {found}, allowed is once, with one")
        return caught[0].detach().flatten(1)

    def _tap(self, caught: list) -> torch.utils.hooks.RemovableHandle:
        # Removed on leaving the block.
        if self._of_output:
            return self._module.register_forward_hook(lambda *call: caught.append(call[-1]))
        return self._module.register_forward_pre_hook(
            lambda _, args, named: caught.extend([*args, *named.values()][:1]), with_kwargs=True
        )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch a model to eval mode without gradients; put each module's own mode back.

    Nothing compiled runs: it would go past hooks that were not there when it was compiled.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _naming(number: int) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"batch {number}: {error}") from None


def _beginning(source: Source) -> Callable[[], Iterable]:
    """Return a function that begins a pass over the source's batches."""
    if isinstance(source, str | Path):
        if not os.path.isdir(source):
            raise InputError(f"{source}: no such folder, allowed is a folder of safetensors files")
        return _Folder(source)
    if isinstance(source, Iterator):
        raise InputError(
            "batches: an iterator can be read once only, metrics read twice; allowed are a list, a "
            "DataLoader, a folder, or a function that returns an iterator"
        )
    if isinstance(source, DataLoader) and source.persistent_workers:
        # It has one pass at a time, and beginning another would end that of a training.
        source = copy(source)
        source._iterator = None
    if isinstance(source, Iterable):
        return lambda: source
    if callable(source):
        return source
    raise InputError(
        f"batches: found {type(source).__name__}, allowed are a list, a DataLoader, a folder, or a "
        "function that returns an iterator"
    )


def _pair(batch: object, number: int) -> tuple[Rows, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise InputError(
            f"batch {number}: found {type(batch).__name__}, allowed are pairs of features (inputs) "
            "and labels or targets"
        )
    features, others = batch[:2]
    return torch.as_tensor(features) if _is_array(features) else features, torch.as_tensor(others)


def _is_array(value: object) -> bool:
    return hasattr(value, "__array_interface__") and not isinstance(value, Tensor)


def _checked(features: Rows, others: Tensor, targets: bool) -> Tensor:
    """Check one batch; return its labels as int64, or its targets."""
    check_features(features)
    if not targets:
        return check_labels(others, features.shape[0])
    check_targets(others, features.shape[0])
    return others
