"""Swimmer: a chain of three links swims forward; the expert is a linear policy.

Pairs and episodes are those of Andriopoulos et al. 2024, Table 1; for testing there are 20 % more.
"""

from collapse.data.kinds.demonstrations import Search, Task

SET = Task(
    title="Swimmer",
    environment="Swimmer-v5",
    inputs=8,
    outputs=2,
    train_count=1_000,
    test_count=200,
    test_stride=5,
    search=Search(directions=4, best=2, step=0.02, noise=0.03, iterations=40),
)
