"""The search for a policy."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse.data.kinds.demonstrations import Search
from collapse.data.policy_search import Moments, Policy, search

QUADRATIC = Search(directions=4, best=2, step=0.02, noise=0.03, iterations=300)
OPTIMUM = np.array([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5]])


def quadratic(policy, start, seen):
    return -float(((policy.gain - OPTIMUM) ** 2).sum())


def silent(line):
    pass


def test_search_finds_the_optimum_of_a_quadratic():
    found = search(quadratic, (2, 3), QUADRATIC, 0, silent)
    assert np.abs(found.policy.gain - OPTIMUM).max() < 0.1
    assert found.score == quadratic(found.policy, 0, None)
    assert found.episodes <= 2 * 4 * 300


def test_search_is_decided_by_its_seed():
    short = replace(QUADRATIC, iterations=20)
    first, again, other = (
        search(quadratic, (2, 3), short, seed, silent).policy.gain for seed in (0, 0, 1)
    )
    assert first.tobytes() == again.tobytes()
    assert (first != other).all()


def test_search_keeps_the_best_it_evaluated():
    lines = []
    # A step so long that the search wanders.
    found = search(quadratic, (2, 3), replace(QUADRATIC, step=1.0, iterations=95), 0, lines.append)
    episodes = [int(re.match(r"\d+", line).group()) for line in lines]
    assert episodes == [80 * turn for turn in range(1, 10)] + [760]
    scores = [float(line.rpartition(" ")[2]) for line in lines]
    assert round(found.score, 1) == max(scores) > scores[-1]
    assert found.episodes == episodes[int(np.argmax(scores))]


@pytest.mark.parametrize(("directions", "best"), [(1, 1), (5, 1), (3, 3), (5, 2)])
def test_step_is_along_the_best_directions(directions, best):
    played = []

    def rollout(policy, start, seen):
        value = quadratic(policy, start, seen)
        if seen is not None:
            played.append((value, policy.gain))
        return value

    once = Search(directions, best, step=0.02, noise=0.03, iterations=1)
    found = search(rollout, (2, 3), once, 0, silent)
    assert len(played) == 2 * directions
    pairs = sorted(
        zip(played[::2], played[1::2], strict=True),
        key=lambda pair: -max(value for value, _ in pair),
    )
    slope = sum((up - down) * gain for (up, gain), (down, _) in pairs[:best]) / once.noise
    spread = np.std([value for pair in pairs[:best] for value, _ in pair])
    assert found.policy.gain == pytest.approx(once.step / (best * spread) * slope)


def test_search_stays_where_all_is_alike():
    found = search(lambda *_: 1.0, (2, 3), replace(QUADRATIC, iterations=3), 0, silent)
    assert (found.policy.gain == 0).all() and found.score == 1


def test_both_signs_start_alike_and_evaluations_do_not_teach():
    plays = []

    def rollout(policy, start, seen):
        plays.append((start, seen is None))
        return quadratic(policy, start, seen)

    search(rollout, (2, 3), replace(QUADRATIC, iterations=1), 0, silent)
    tried, evaluated = plays[:8], plays[8:]
    assert [start for start, _ in tried[::2]] == [start for start, _ in tried[1::2]]
    assert not any(alone for _, alone in tried) and all(alone for _, alone in evaluated)
    starts = {start for start, _ in plays}
    assert len(starts) == 4 + len(evaluated)


def test_observations_are_normalised_as_they_come_in():
    generator = np.random.default_rng(0)
    centre, width = np.array([5.0, -3.0, 0.0]), np.array([2.0, 0.1, 0.0])

    def rollout(policy, start, seen):
        if seen is not None:
            for each in centre + width * generator.standard_normal((50, 3)):
                seen.add(each)
        return quadratic(policy, start, seen)

    policy = search(rollout, (2, 3), replace(QUADRATIC, iterations=10), 0, silent).policy
    assert policy.mean == pytest.approx(centre, abs=0.1)
    # What never varies is not divided by zero.
    assert policy.std == pytest.approx([2, 0.1, 1], rel=0.05)


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 2), min_size=2, max_size=30))
def test_moments_are_those_of_all_rows(rows):
    moments = Moments(0, np.zeros(2), np.zeros(2))
    for row in np.array(rows):
        moments.add(row)
    assert moments.mean == pytest.approx(np.mean(rows, 0), abs=1e-9)
    spread = np.std(rows, 0)
    clear = spread > 1e-6
    assert moments.std[clear] == pytest.approx(spread[clear], rel=1e-6)
    assert (moments.std > 0).all()


def test_policy_is_normalised_and_clipped():
    policy = Policy(np.array([[1.0, 0.0], [3.0, 3.0]]), np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    assert policy(np.array([2.0, 3.0])).tolist() == [0.5, 1.0]
