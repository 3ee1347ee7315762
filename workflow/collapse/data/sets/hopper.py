"""Hopper: a leg hops forward; the expert is a linear policy.

Pairs and episodes are those of Andriopoulos et al. 2024, Table 1; for testing there are 20 % more.
"""

from collapse.data.kinds.demonstrations import Search, Task

SET = Task(
    title="Hopper",
    environment="Hopper-v5",
    inputs=11,
    outputs=3,
    train_count=10_000,
    test_count=2_000,
    search=Search(directions=8, best=4, step=0.01, noise=0.025, iterations=200, shift=1.0),
)
