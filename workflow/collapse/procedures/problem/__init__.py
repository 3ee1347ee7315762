"""Optimisation over free features: a batch of problems of one shape, float64.

A state's tensors are the problem's variables, of a linear head ``H`` (d_1 x C, in the solver's
columns, samples = H @ basis), ``W1`` to ``WM`` and the bias. The history holds ``objective``, the
study's in its units, and ``gradient_norm`` at every recorded step, ``scaled_decay`` of a sweep and
``time`` of a flow. A run that diverged has a row ``diverged`` at that step, and none behind it.
"""
