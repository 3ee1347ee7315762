"""Optimisation problems over free features, and the solver that runs them in batches."""
