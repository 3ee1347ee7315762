"""What notebooks show of the results."""

import pandas as pd
import pytest

from collapse import showing


@pytest.mark.parametrize("widths", [(20, 30), (None, 30)])
def test_of_a_key_that_figures_do_not_tell_apart_the_first_value_is_drawn(monkeypatch, widths):
    rows = pd.DataFrame(
        [
            (arm, width, seed, 1, "X", "NC1", 0.5)
            for arm in ("agop", "shuffled")
            for width in widths
            for seed in (0, 1)
        ],
        columns=["projection", "width", "seed", "step", "layer", "metric", "value"],
    )
    monkeypatch.setattr(showing, "table", lambda study, experiment: rows)
    drawn = showing.drawn("deep_rfm", "rfm")
    pd.testing.assert_frame_equal(drawn, rows.iloc[[0, 1, 4, 5]])
