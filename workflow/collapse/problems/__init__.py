"""Optimisation problems over free features, and the solvers that run them in batches.

A problem is a module that its kind names. It offers ``build(configs, device)``, which returns a
batch (a `collapse.problems.base.Problem`), one problem for each of the resolved configs of a group,
and ``answers(config)``, the labels (N) or targets (N x n) that its features are measured against,
or None.
"""
