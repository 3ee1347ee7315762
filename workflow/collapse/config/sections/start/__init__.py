"""Where the optimisation of free features starts."""

IMPLEMENTATIONS = "collapse.problems.starts"
