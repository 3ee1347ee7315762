"""Closed forms: hyperparameters in, prediction out; one module per paper.

A module that defines ``predict(**hyperparameters)``, ``OBJECTIVE`` and ``KEYS`` is a study
of ``collapse predict`` by its name alone; there is no list to edit.

For the runs of a study it offers ``of_run(config, facts)``, what is predicted of a run, number by
name, from its resolved config and what is known of its data, and it may offer
``frame_of_run(config, facts)``, numbers by class that features and weights are measured against. A
study needs no theory.
"""
