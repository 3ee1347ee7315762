"""Causal language models on a corpus."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from collapse.config.costs import Size, Work, asked, dense, norm
from collapse.config.experiment import Experiment, Resources
from collapse.config.network import USUAL_SAMPLES, Training
from collapse.config.section import Count, Depth, Extent, fault
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet

USUAL_VOCABULARY = 10_000
"""Of a text that does not say, before it is read."""


class Data(Base):
    """The text, and what of it a model sees."""

    name: str = Field(description="A text or grammar, a module of `collapse.data.sets`.")
    context: Extent = Field(
        description="Tokens that a model sees at most: the text is cut into windows so long."
    )
    tokens: Count | None = Field(
        None,
        description="First positions to train on, with the same share of those held out; null for "
        "all.",
    )
    vocabulary: Annotated[Count, Field(ge=3)] | None = Field(
        None,
        description="Number V of tokens: the most frequent ones, and one for all others; null "
        "keeps all.",
    )


class Section(Experiment):
    """Causal transformers that predict the next token (Wu & Papyan 2024, arXiv 2405.17767).

    A block is LayerNorm, causal self-attention, LayerNorm and an MLP with GELU, both added
    (pre-LN); the features are what the last LayerNorm gives to the head, a matrix without bias. A
    sample of `training` is a window of the text, a step an epoch.
    """

    compute_only: ClassVar = frozenset({"training", "side_by_side"})
    verb: ClassVar = "train"

    procedure: Literal["language"] = Field(description="How it is carried out.")
    data: Data = Field(description="Text that it is trained on.")
    width: Extent = Field(description="Numbers in a token, the feature dimension d, below V - 1.")
    depth: Depth = Field(description="Number of blocks.")
    heads: Extent = Field(description="Attention heads; divide the width.")
    mlp_width: Extent | None = Field(
        None, description="Width of each block's MLP; null: four times the width."
    )
    training: Training = Field(description="Optimisation.")
    side_by_side: Literal["shape", "experiment"] = Field(
        "shape",
        description="Models that one job trains at the same time: of one `shape`, or of the whole "
        "`experiment`, which fills a large GPU.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        if self.width % self.heads:
            message = f"{self.heads} found, allowed are divisors of width, {self.width}"
            raise fault("heads", message)
        if self.training.augmentation:
            found = f"augmentation {self.training.augmentation} found"
            raise fault("training", f"{found}, allowed is []: a text is no image")
        return self

    @property
    def batched(self) -> frozenset[str]:
        """What the models of one job may differ in."""
        decay = frozenset({"training.optimiser.decay"})
        if self.side_by_side == "experiment":
            return decay | {"width", "depth", "heads", "mlp_width"}
        return decay

    @property
    def clock(self) -> str:
        """A step is an epoch."""
        return "epoch"

    def length(self) -> tuple[int, str]:
        """Return the epochs."""
        return self.training.epochs, "epochs"

    def resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from positions, epochs and the models, all side by side."""
        size, positions = self._sizes(runs, data_set), self._positions(data_set)
        windows = max(1, positions // self.data.context)
        epochs, batch = self.training.epochs, min(self.training.batch_size, windows)
        # A backward pass takes two forward ones. On a CPU models take their steps in turn.
        units = 3 * size.products * positions * epochs
        steps = epochs * math.ceil(windows / batch) * len(runs)
        states = self._records * size.parameters
        largest = max(self._sizes([run], data_set).activations for run in runs)
        training = 5 * size.parameters + 2 * largest * batch * self.data.context
        # States are kept, and copied once to be written.
        held = 16 * positions + 8 * states
        work = Work(self.training.precision, units, steps, held, 4 * training, 4 * states)
        return asked(work)

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from positions and recorded states."""
        size, positions = self._sizes(runs, data_set), self._positions(data_set)
        # Training contexts are read twice, held-out ones once.
        units = 3 * size.products * positions * self._records
        held = 16 * positions + 4 * self._records * size.parameters
        largest = max(self._sizes([run], data_set).activations for run in runs)
        # Blocks of 2^13 contexts, each of which is many small products and sums by class.
        steps = 18 * math.ceil(positions / 2**13) * self._records * len(runs)
        return asked(Work("float32", units, steps, held, 4 * 2**13 * largest))

    @property
    def _records(self) -> int:
        # With the start.
        return min(self.training.record, self.training.epochs) + 1

    def _positions(self, data_set: DataSet) -> int:
        """Return the number of training positions, as far as it is known before the data are."""
        return self.data.tokens or getattr(data_set, "train_count", None) or USUAL_SAMPLES

    def _vocabulary(self, data_set: DataSet) -> int:
        known = getattr(data_set, "vocabulary", None)
        return self.data.vocabulary or known or USUAL_VOCABULARY

    @staticmethod
    def _sizes(runs: Sequence["Section"], data_set: DataSet) -> Size:
        """Return the size of all models, of which products and activations are a position's."""
        return sum((run._size(data_set) for run in runs), Size())

    def _size(self, data_set: DataSet) -> Size:
        width, context, vocabulary = self.width, self.data.context, self._vocabulary(data_set)
        inner = self.mlp_width or 4 * width
        block = norm(width).times(2) + dense(width, 3 * width) + dense(width, width)
        block += dense(width, inner) + dense(inner, width)
        # Queries by keys, and what they weigh; each head keeps its table.
        block += Size(0, 2 * context * width, 2 * self.heads * context)
        ends = Size((vocabulary + context) * width, 0, width) + norm(width)
        return ends + block.times(self.depth) + dense(width, vocabulary)

    def labels(self, data_set: DataSet) -> dict[str, Any]:
        """Return how its model, data, tokens and update rule are called."""
        tokens = self.data.tokens
        return {
            "model": f"transformer {self.depth}x{self.width}",
            "data": data_set.title,
            "samples": f"{tokens:,} tokens" if tokens else "all tokens",
            "loss": "CE",
            "optimiser": self.training.optimiser.label,
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what is no text, too small a text, and a width without more classes."""
        data, known = self.data, getattr(data_set, "vocabulary", None)
        if known is None:
            yield ("data", "name"), f"{data.name} found, which is no text of tokens"
            return
        if data.vocabulary is not None and data.vocabulary > known:
            found = f"{data.vocabulary} found, {data.name} has {known} different tokens"
            yield ("data", "vocabulary"), found
        if data.tokens is not None and data.tokens > data_set.train_count:
            found = f"{data.tokens} found, {data.name} has {data_set.train_count} positions"
            yield ("data", "tokens"), found
        taken = data.tokens or data_set.train_count
        shortest = min(taken, data_set.test_count * taken // data_set.train_count)
        if data.context > shortest:
            yield ("data", "context"), f"{data.context} found, a part of the text has {shortest}"
        most = self._vocabulary(data_set) - 2
        if self.width > most:
            found = f"{self.width} found with {most + 2} tokens, allowed are up to {most}"
            yield ("width",), f"{found}: metrics of more classes than columns"
