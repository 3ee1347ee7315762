"""Share of zeros, and the first two features of every sample."""

import pandas as pd


def rows(state, _):
    yield "H1", "sparsity", (state.features <= 0).double().mean().item()


def points(state, _):
    if not state.last:
        return None
    first, second = state.features.relu()[:, :2].T.numpy()
    labels = state.targets.numpy()
    return pd.DataFrame({"layer": "H1", "label": labels, "first": first, "second": second})
