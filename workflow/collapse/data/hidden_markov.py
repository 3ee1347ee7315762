"""Hidden Markov chains of topics and states: how they are drawn, sampled and filtered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of T topics with S states each, that emits one of V tokens at every step.

    Attributes
    ----------
    keep
        Probability that a topic goes on; else it is drawn anew, of all alike.
    transitions
        S x S, of the states, whatever the topic: rows are distributions.
    emissions
        T x S x V, of the tokens: the last axis holds distributions.
    """

    keep: float
    transitions: Array
    emissions: Array

    @property
    def start(self) -> Array:
        """The stationary distribution of topic and state, T x S."""
        values, vectors = np.linalg.eig(self.transitions.T)
        states = np.abs(vectors[:, np.argmin(np.abs(values - 1))].real)
        topics = len(self.emissions)
        return np.tile(states / (states.sum() * topics), (topics, 1))

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return so many tokens, from the stationary distribution on."""
        topics, states, _ = self.emissions.shape
        kept = rng.random(count) < self.keep
        fresh = rng.integers(topics, size=count)
        steps, tokens = rng.random((2, count))
        rows, cumulated = np.cumsum(self.transitions, 1), np.cumsum(self.emissions, 2)
        # Rounding may leave the last of them below 1.
        rows[:, -1] = cumulated[..., -1] = 1.0
        first = self.start.sum(0).cumsum()
        topic, state = int(fresh[0]), int(np.searchsorted(first, steps[0] * first[-1]))
        found = np.empty(count, np.int64)
        for place in range(count):
            if place:
                topic = topic if kept[place] else int(fresh[place])
                state = int(np.searchsorted(rows[state], steps[place]))
            found[place] = np.searchsorted(cumulated[topic, state], tokens[place])
        return found

    def surprisal(self, tokens: NDArray[np.int64]) -> Array:
        """Return -log p(token | all tokens before it), in nats, by the forward filter, exact.

        Its mean over a text tends to the chain's entropy rate, below which no model's cross-entropy
        can be in expectation, whatever it sees of the past.
        """
        belief, found = self.start, np.empty(len(tokens))
        for place, token in enumerate(tokens):
            if place:
                belief = belief @ self.transitions
                belief = self.keep * belief + (1 - self.keep) * belief.mean(0)
            belief = belief * self.emissions[..., token]
            evidence = belief.sum()
            found[place] = -np.log(evidence)
            belief = belief / evidence
        return found


def drawn(
    topics: int,
    states: int,
    vocabulary: int,
    keep: float,
    concentration: float,
    exponent: float,
    rng: np.random.Generator,
) -> Chain:
    """Return a random chain.

    Rows of the transition matrix are Dirichlet; each topic and state ranks all tokens in an order
    of its own, in which early tokens tend to be early, so that tokens differ in frequency too.
    """
    transitions = rng.dirichlet(np.full(states, concentration), states)
    ranks = np.arange(1, vocabulary + 1)
    zipf = ranks**-exponent / (ranks**-exponent).sum()
    # Drawn one by one without replacement, with probabilities proportional to 1 over their number:
    # the order of exponential variables over these.
    keys = rng.exponential(size=(topics, states, vocabulary)) * ranks
    emissions = np.empty_like(keys)
    np.put_along_axis(emissions, keys.argsort(-1), np.broadcast_to(zipf, keys.shape), -1)
    return Chain(keep, transitions, emissions)
