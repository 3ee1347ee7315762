"""Objectives over free features."""

IMPLEMENTATIONS = "collapse.problems"
