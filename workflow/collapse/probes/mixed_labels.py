"""The loss of a training on soft labels beside the least that their entropy allows."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.errors import InputError
from collapse.probes import Reading, State
from collapse.training.history import LABEL_ENTROPY


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield, on layer ``all``, of the epoch that ends here, means over its samples.

    ``training_loss``, the data term, and ``label_entropy`` of the soft labels, in nats, below which
    no cross-entropy can be; ``least_excess``, the least difference of the two in any epoch so far.
    """
    if state.history is None or LABEL_ENTROPY not in state.history:
        raise InputError("probe mixed_labels: a network that is trained on soft labels needed")
    past = state.history
    # Before the first epoch nothing has been trained.
    if len(past):
        yield "all", "training_loss", float(past["data_loss"].iloc[-1])
        yield "all", LABEL_ENTROPY, float(past[LABEL_ENTROPY].iloc[-1])
        yield "all", "least_excess", float((past["data_loss"] - past[LABEL_ENTROPY]).min())
