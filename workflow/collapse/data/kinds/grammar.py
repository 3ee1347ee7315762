"""A hidden Markov grammar: text of a known law."""

from dataclasses import dataclass
from typing import ClassVar

from collapse.data.catalogue import DataSet


@dataclass(frozen=True, kw_only=True)
class Grammar(DataSet):
    """Tokens that a hidden Markov chain of topics and states emits, one after the other.

    Its samples are positions, labelled with the token that follows. The states of a topic follow
    each other by one transition matrix, that of all topics; every pair of topic and state emits
    tokens by Zipf's law over an order of the vocabulary of its own. What is drawn of the grammar
    and of the text follows from the seed.

    Attributes
    ----------
    topics, states
        Of the chain.
    vocabulary
        Number of tokens.
    length
        Mean number of tokens between two draws of the topic, which may be drawn again.
    concentration
        Of the Dirichlet distribution that the rows of the transition matrix are drawn from.
    exponent
        s of Zipf's law: the token of rank r has a probability proportional to r^-s.
    train_count, test_count
        Positions to train on and held out.
    seed
        Of all that is drawn.
    """

    source: ClassVar[str] = "grammar"

    topics: int
    states: int
    vocabulary: int
    length: float
    concentration: float
    exponent: float
    train_count: int
    test_count: int
    seed: int = 0

    @property
    def regression(self) -> bool:
        """Whether its targets are real numbers: they are tokens."""
        return False
