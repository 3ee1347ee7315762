"""A toy grammar of 512 words: 6 topics of 12 states."""

from collapse.data.kinds.grammar import Grammar

SET = Grammar(
    title="grammar of 512 words",
    topics=6,
    states=12,
    vocabulary=512,
    length=48,
    concentration=0.1,
    exponent=1.75,
    train_count=960_000,
    test_count=96_000,
)
