"""How a claim becomes a verdict."""

from dataclasses import replace

import pandas as pd
import pytest

from collapse.studies.verdicts import COLUMNS, Claim, lost, missing, short_of

CLAIM = Claim("falls", "a paper", "It falls.", "what is left is 0", 0.1, 2, bound="theory")


def decided(values, seeds=2, **reasons):
    row = CLAIM.decide(values, seeds, **reasons)
    return row["verdict"], row["measured"]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1], "replicated"),
        ([0.1, 0.1, -5.0], "replicated"),
        ([0.11], "not replicated"),
        ([0.0, 0.0, 0.11], "inconclusive"),
        ([0.11, 0.0, 0.0], "inconclusive"),
        ([0.0, 0.11, 0.11], "not replicated"),
        ([0.0, 0.2], "inconclusive"),  # the median is the tolerance
        ([0.0, 0.21], "not replicated"),
        ([-9.0, -9.0, 0.11, 0.11, 0.11], "not replicated"),
        ([float("inf")], "not replicated"),
        ([0.0, float("nan")], "inconclusive"),
        ([float("nan")], "inconclusive"),
    ],
)
def test_the_worst_run_replicates_and_the_median_refutes(values, verdict):
    assert decided(values)[0] == verdict
    assert decided(pd.Series(values, index=[9] * len(values)))[0] == verdict


def test_what_was_measured_is_said_in_words():
    assert decided([0.0123456, 0.02, 0.5]) == ("inconclusive", "median 0.02, worst 0.5")
    row = CLAIM.decide([0.05], 7)
    assert row == {
        "claim": "falls",
        "source": "a paper",
        "statement": "It falls.",
        "expected": "what is left is 0",
        "tolerance": 0.1,
        "bound": "theory",
        "measured": "median 0.05, worst 0.05",
        "seeds": 7,
        "verdict": "replicated",
    }
    assert [*row] == [name for name in COLUMNS if name not in ("study", "scale")]


@pytest.mark.parametrize("value", [0.05, 0.5])
@pytest.mark.parametrize(
    ("seeds", "obstacles", "text"),
    [
        (1, (), "1 of 2 seeds"),
        (2, ("no M 3",), "no M 3"),
        (0, ("no M 3", "2 diverged"), "no M 3; 2 diverged; 0 of 2 seeds"),
    ],
)
def test_without_what_a_claim_needs_there_is_no_verdict(value, seeds, obstacles, text):
    outcome = decided([value], seeds, obstacles=iter(obstacles), excuses=["a short training"])
    assert outcome == ("inconclusive", f"median {value}, worst {value} ({text})")
    outcome = decided([], seeds, obstacles=iter(obstacles), excuses=["a short training"])
    assert outcome == ("inconclusive", f"no run; {text}")


def test_without_a_run_there_is_no_verdict():
    assert decided([]) == ("inconclusive", "no run")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, ("replicated", "median 0.1, worst 0.1")),
        (0.2, ("inconclusive", "median 0.2, worst 0.2 (short; small)")),
    ],
)
def test_an_excuse_keeps_from_refuting_but_not_from_replicating(value, expected):
    assert decided([value], excuses=iter(["short", "small"])) == expected
    assert decided([0.2], excuses=iter(()))[0] == "not replicated"


def test_a_claim_says_who_set_its_bound():
    assert replace(CLAIM, bound="paper").bound == "paper"
    assert Claim(*list(vars(CLAIM).values())[:-1]).bound == "project"


@pytest.mark.parametrize("bound", ["", "papers", "ours", None])
def test_a_bound_that_nobody_sets_is_refused(bound):
    with pytest.raises(ValueError, match="falls: bound .* allowed: paper, theory, project"):
        replace(CLAIM, bound=bound)


def test_what_is_lacking_is_said_in_words_and_only_where_it_is():
    assert lost(0) == [] and lost(3) == ["3 diverged"]
    assert missing((9, 1, 3), (3, 4), "M") == ["no M 1, 9 at this scale"]
    assert missing((1, 3), iter((3, 1, 4)), "M") == []
    assert short_of(199, 200, "epochs") == ["199 of 200 epochs"]
    assert short_of(200, 200, "epochs") == short_of(201, 200, "epochs") == []
