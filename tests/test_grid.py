"""Grids of values: what is tied, and how values are spelt."""

import pytest

from collapse import grid
from collapse.grid import tied


def test_tied_leaves_given_decays_and_its_argument_alone():
    given = {"weight_decay": 0.1, "feature_decay": None, "backbone_decay": 0.0}
    assert tied(given) == given | {"feature_decay": 0.1}
    assert given["feature_decay"] is None
    assert tied({"weight_decay": [1, 2], "feature_decay": 0.5}) == {
        "weight_decay": [1, 2],
        "feature_decay": 0.5,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_000_000, "1000000"),
        (True, "true"),
        (5e-4, "0.0005"),
        (1e-12, "1e-12"),
        ([1, 2.5], "1-2.5"),
        ("mse", "mse"),
    ],
)
def test_values_are_spelt_for_ids(value, text):
    assert grid.format_value(value) == text
