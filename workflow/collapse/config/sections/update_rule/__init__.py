"""Optimiser of a network: how its parameters follow their gradients."""

IMPLEMENTATIONS = "collapse.training.update_rules"
