"""Closed forms: hyperparameters in, prediction out; one module per paper.

A module that defines ``predict(**hyperparameters)``, ``OBJECTIVE`` and ``KEYS`` is a study
of ``collapse predict`` by its name alone; there is no list to edit.
"""
