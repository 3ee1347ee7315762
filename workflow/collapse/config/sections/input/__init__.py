"""Input of a network: what a batch is made of."""

IMPLEMENTATIONS = "collapse.training.inputs"
