"""Text of a hidden Markov grammar, with what is known of its law."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collapse.data.catalogue import find
from collapse.data.corpus import attributes, positions
from collapse.data.hidden_markov import drawn
from collapse.data.kinds.grammar import Grammar
from collapse.data.spec import required
from collapse.data.tensors import Tensors


def make(spec: Mapping[str, Any], _: str | None) -> Tensors:
    """Return the data set that the data job is told to make; see `generate`."""
    (name,) = required(spec, name=str)
    return generate(name, find(name, Grammar))


def generate(name: str, grammar: Grammar) -> Tensors:
    """Return the training and the test text of a grammar, each drawn from its start on.

    ``test_surprisal`` is the exact -log p of each test label given all tokens before it.
    """
    rng = np.random.default_rng(grammar.seed)
    chain = drawn(
        grammar.topics, grammar.states, grammar.vocabulary, 1 - 1 / grammar.length,
        grammar.concentration, grammar.exponent, rng,
    )  # fmt: skip
    train, test = (
        chain.sample(count + 1, rng) for count in (grammar.train_count, grammar.test_count)
    )
    # The most frequent first, as in every corpus.
    order = np.argsort(-np.bincount(train, minlength=grammar.vocabulary), kind="stable")
    place = np.argsort(order)
    arrays = positions(place[train], place[test])
    arrays["test_surprisal"] = chain.surprisal(test)[1:]
    names = [f"w{token}" for token in order]
    return Tensors(arrays, {"name": name, "source": "generated", **attributes(names)})
