"""A toy grammar of 96 words: 6 topics of 12 states."""

from collapse.data.kinds.grammar import Grammar

SET = Grammar(
    title="grammar of 96 words",
    topics=6,
    states=12,
    vocabulary=96,
    length=48,
    concentration=0.1,
    exponent=2.0,
    train_count=96_000,
    test_count=24_000,
)
