"""Model of a network: the backbone that computes the features."""

IMPLEMENTATIONS = "collapse.models"
