"""Evenly spaced steps on a logarithmic scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.schedule import log_spaced


@given(st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 1000))
def test_steps_are_as_many_as_asked_and_go_to_the_ends(last, count, first):
    first = min(first, last)
    steps = log_spaced(last, count, first)
    assert steps[0] == 0 and steps[-1] == last
    assert all(before < after for before, after in zip(steps, steps[1:], strict=False))
    assert len(steps) - 1 == min(count, last - first + 1)
    assert count == 1 or steps[1] == first


@pytest.mark.parametrize("wanted", [(0, 5), (5, 0)])
def test_a_schedule_without_steps_is_refused(wanted):
    with pytest.raises(InputError, match="log_spaced"):
        log_spaced(*wanted)
