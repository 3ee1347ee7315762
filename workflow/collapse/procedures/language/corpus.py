"""The tokens that a language model is trained on and held to, cut into contexts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.data.dataset import Dataset
from collapse.errors import InputError


@dataclass(frozen=True)
class Corpus:
    """Tokens in windows of context + 1, of which each begins with the last token of that before.

    Attributes
    ----------
    train, test
        Windows, N x (L + 1) tokens from 0 to V - 1, int64: the first L of a row are contexts, each
        with all before it, the last L what follows them.
    vocabulary
        V.
    entropy
        Mean over the test windows' labels of -log p given all that is before, in nats, where the
        law of the text is known; else None. In expectation no model's loss is below it.
    """

    train: Tensor
    test: Tensor
    vocabulary: int
    entropy: float | None

    @property
    def classes(self) -> Tensor:
        """The tokens that follow a context of training, ascending: the K classes with samples."""
        return self.train[:, 1:].unique()


def corpus_of(dataset: Dataset, choice: Mapping[str, Any], device: torch.device) -> Corpus:
    """Return the text that an experiment is about, on a device.

    Parameters
    ----------
    dataset
        A data set whose samples are positions in order: inputs are tokens, labels what follows.
    choice
        The experiment's section ``data``: ``context``, L; ``tokens``, how many of the first
        positions are trained on, with the same share of those held out, or None for all;
        ``vocabulary``, V, or None for all there are: of more tokens the rarest become one, V - 1.

    Raises
    ------
    InputError
        If the samples are no tokens, there are fewer positions than wanted or than a context is
        long, or the vocabulary is larger than what the text holds.
    """
    if dataset.regression or dataset.inputs[0].size != 1:
        raise InputError("data.name: samples found that are no tokens")
    known, vocabulary = len(dataset.outputs), choice["vocabulary"]
    if vocabulary is not None and vocabulary > known:
        raise InputError(f"data.vocabulary: {vocabulary} found, the text holds {known} tokens")
    available, context = len(dataset.targets), choice["context"]
    wanted = choice["tokens"] or available
    if wanted > available:
        raise InputError(f"data.tokens: {wanted} found, the text has {available} positions")
    counts = (wanted, len(dataset.test_targets) * wanted // available)
    last = (vocabulary or known) - 1
    train, test = (
        torch.from_numpy(_windows(inputs, labels, count, context).clip(max=last)).to(device)
        for inputs, labels, count in (
            (dataset.inputs, dataset.targets, counts[0]),
            (dataset.test_inputs, dataset.test_targets, counts[1]),
        )
    )
    surprisal = dataset.test_surprisal
    # Of merged tokens the law is another.
    merged = last + 1 < known
    count = test[:, 1:].numel()
    entropy = None if surprisal is None or merged else float(surprisal[:count].mean())
    return Corpus(train, test, last + 1, entropy)


def _windows(inputs: np.ndarray, labels: np.ndarray, count: int, context: int) -> np.ndarray:
    """Return the windows of context + 1 tokens of the first positions, a rest left out."""
    if context > count:
        raise InputError(f"data.context: {context} found, a part of the text has {count} positions")
    text = np.append(inputs[:count].reshape(-1).astype(np.int64), labels[count - 1])
    rows = np.arange(count // context)[:, None] * context
    return text[rows + np.arange(context + 1)]
