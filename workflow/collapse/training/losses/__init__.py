"""Losses: the data term of the objective and the error, by the kind of a config's ``loss``.

Each module offers two functions of outputs Z, E x B x K, and targets; both run inside the captured
step and wait for nothing:

``data_term(outputs, targets, settings)``
    The loss of a batch of each network, (E,), which is minimised; `settings` is the section.
``error(outputs, targets)``
    How wrong the outputs are on it, (E,), which is reported; no gradient is taken of it.
"""

from torch import Tensor


def misclassified(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of labels, E x B, that are not their sample's largest output, (E,)."""
    return (outputs.argmax(-1) != labels).float().mean(1)
