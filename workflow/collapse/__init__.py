"""Collapse Atlas: the neural-collapse literature, replicated figure by figure."""

__version__ = "0.1.0"
