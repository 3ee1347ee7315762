"""Optimisation over free features: a batch of problems of one shape, float64.

A state's tensors are the problem's variables, of a linear head ``H`` (d_1 x C, in the solver's
columns, samples = H @ basis), ``W1`` to ``WM`` and ``bias``. The history holds ``objective`` and
``gradient_norm`` at every recorded step, and ``scaled_decay`` of a sweep.
"""
