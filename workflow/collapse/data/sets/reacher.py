"""Reacher: an arm of two links puts its fingertip on a target; the expert is a controller.

Pairs are those of Andriopoulos et al. 2024, Table 1; for testing there are 20 % more.
"""

from collapse.data.kinds.demonstrations import Task

SET = Task(
    title="Reacher",
    environment="Reacher-v5",
    inputs=11,
    outputs=2,
    train_count=1_000,
    test_count=200,
)
