"""The rows of a training and its lines in the log."""

import numpy as np
import pytest

from collapse.training import history as history_module
from collapse.training.progress import Progress
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


def test_log_lines_are_few_and_name_what_matters(capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 4.0))
    monkeypatch.setattr("collapse.training.progress.time.monotonic", lambda: next(clock))
    progress = Progress(10, done=2)
    for epoch in range(3, 11):
        progress.update(epoch, loss=0.5, error=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 5/10  loss 0.5  error 0.25  4.00 s/epoch  00:20 left"
    assert len(lines) == 3 and lines[-1].startswith("epoch 10/10")
