"""The rows of a training and its lines in the log."""

import pytest

from collapse.training import history as history_module
from conftest import PLAIN, fit


@pytest.mark.parametrize(
    ("epochs", "most", "kept"),
    [
        (10, 10, range(1, 11)),
        (10, 5, [2, 4, 6, 8, 10]),
        (11, 5, [3, 6, 9, 11]),
        (10, 4, [3, 6, 9, 10]),
        (7, 1, [7]),
    ],
)
def test_a_long_history_keeps_evenly_spaced_epochs_and_the_last(monkeypatch, epochs, most, kept):
    whole = fit(model=PLAIN, epochs=epochs)
    assert whole.history["epoch"].tolist() == list(range(1, epochs + 1))
    monkeypatch.setattr(history_module, "MOST_ROWS", most)
    found = fit(model=PLAIN, epochs=epochs)
    assert len(found.history) <= most and found.history["epoch"].tolist() == list(kept)
    expected = whole.history[whole.history["epoch"].isin(kept)].reset_index(drop=True)
    assert found.history.equals(expected)
    assert list(found.states) == list(whole.states)
