"""Loss of a network: the data term of its objective and what counts as its error."""

IMPLEMENTATIONS = "collapse.training.losses"
