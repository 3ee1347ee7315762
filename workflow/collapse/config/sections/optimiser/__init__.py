"""Solvers of problems over free features."""

IMPLEMENTATIONS = "collapse.problems.solvers"
