"""Grids of values: what is tied, and how values are spelt."""

import re

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


@pytest.mark.parametrize("sizes", [[5] * 25, [100] * 20, list(range(1, 91)), ["é" * 30] * 2])
def test_ids_are_names_of_files_and_no_loops_of_rules(sizes):
    others = [*sizes[:-1], sizes[0] if sizes[-1] != sizes[0] else sizes[-1] * 2]
    ids = [grid.identifier({"class_sizes": each}) for each in (sizes, others)]
    assert len(set(ids)) == 2 and all(len(each.encode()) < 60 for each in ids)
    # As Snakemake looks for them.
    assert not any(re.search(r"(.+)\1{19}$", each) for each in ids)
    many = {f"a_rather_long_key_{number}": sizes for number in range(9)}
    other = many | {"a_rather_long_key_8": others}
    long = [grid.identifier(each) for each in (many, other)]
    assert len(set(long)) == 2 and max(len(each.encode()) for each in long) <= 180
