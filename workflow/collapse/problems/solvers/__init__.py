"""Solvers of problems over free features: a module for each kind, found by its name.

Each offers ``solve(problem, start, settings, report, threads)``; one that can follow a path of
decays also ``follow``.
"""
