"""How an experiment is carried out."""

IMPLEMENTATIONS = "collapse.procedures"
