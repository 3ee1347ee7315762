"""Two folders of results side by side."""

import pandas as pd
import pytest

from collapse import cli, comparison
from collapse.artifacts import write_csv, write_digests, write_table

RUNS = {"depth": [1, 1, 3, 3], "seed": [0, 1, 0, 1], "step": 5, "layer": "H1", "metric": "NC1"}


def save(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, pd.DataFrame(columns))
    write_digests((path,), {})


@pytest.fixture
def folders(tmp_path):
    """Two folders with claims, a figure and a table each."""

    def fill(name, verdicts, drawn, values, seeds=3):
        folder = tmp_path / name
        claims = {"claim": list(verdicts), "verdict": list(verdicts.values())}
        told = {"measured": "median 1", "scale": "smoke"}
        save(folder / "claims/mixup.csv", study="mixup", **claims, **told)
        medians, spread = pd.Series(drawn), 0.1 if seeds > 1 else 0.0
        ranges = {"median": medians, "low": medians - spread, "high": medians + spread}
        keys = {"alpha": [1.0, None, 0.5][: len(drawn)], "series": "measured"}
        save(folder / "figures/mixup/ufm.csv", **keys, **ranges, seeds=seeds)
        # Points without a range are not compared.
        save(folder / "figures/mixup/points.csv", x=drawn)
        table = pd.DataFrame(RUNS | {"value": values})
        write_table(folder / "mixup/mine/metrics.parquet", table, {})
        return folder

    return fill


def test_numbers_differ_where_their_ranges_lie_further_apart_than_either_is_wide(folders):
    a = folders("a", {}, [1.0, 2.0, 3.0], [0.5, 0.7, 2e-13, 4e-14])
    b = folders("b", {}, [1.0, 2.35, 3.45], [0.8, 0.85, 9e-30, 8e-30])
    figure, table = comparison.numbers(a, b)
    assert (figure.name, figure.common) == ("figures/mixup/ufm.csv", 3)
    # 0.35 apart with 0.2 wide ranges leaves a gap of 0.15, 0.45 one of 0.25.
    assert figure.differing["alpha"].tolist() == ["0.5"]
    assert figure.differing["median_b"].tolist() == [3.45]
    # The gap is 0.1, the wider range 0.2; the others are rounding.
    assert (table.name, table.common) == ("mixup/mine/metrics.parquet", 2)
    assert not len(table.differing)
    c = folders("c", {}, [1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.1])
    _, table = comparison.numbers(a, c)
    assert set(table.differing["depth"]) == {"1", "3"}
    assert table.differing["low_a"].tolist()[-1] == pytest.approx(0.5)


def test_single_seeds_differ_beyond_rounding(folders):
    values = [1.0, 1.0, 1.0, 1.0]
    a = folders("a", {}, [1.0, 2.0, 3.0], values, seeds=1)
    b = folders("b", {}, [1.0 + 1e-8, 2.0 + 1e-4], values, seeds=1)
    figure, _ = comparison.numbers(a, b)
    assert figure.common == 2 and figure.differing["median_a"].tolist() == [2.0]


def test_another_verdict_is_an_exit_code_of_one(folders, capsys):
    drawn, values = [1.0, 2.0], [1.0, 1.0, 2.0, 2.0]
    first = {"one": "replicated", "two": "inconclusive", "three": "replicated", "own": "replicated"}
    second = {"one": "replicated", "two": "replicated", "three": "not replicated"}
    a, b = folders("a", first, drawn, values), folders("b", second, [1.0, 5.0], values)
    assert cli.main(["compare", str(a), str(a)]) == 0
    assert "4 claims in both, 0 with another verdict" in capsys.readouterr().out
    assert cli.main(["compare", str(a), str(b)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 claims are in the first alone"
    assert lines[1].startswith("3 claims in both, 2 with another verdict: 1 decided otherwise, 1")
    assert lines[1].endswith("1 left open in one (`--long` lists them)")
    assert [line for line in lines if line.startswith("mixup t")] == ["mixup three"]
    assert "  B not replicated at smoke scale: median 1" in lines
    assert "figures/mixup/ufm.csv: 2 numbers in both, 1 differ" in lines
    assert not any("series=measured" in line for line in lines)
    assert cli.main(["compare", "--long", str(a), str(b)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("mixup t")] == ["mixup three", "mixup two"]
    assert "  series=measured: 2 (1.9 to 2.1) | 5 (4.9 to 5.1)" in lines


def test_what_cannot_be_compared_is_one_line(folders, tmp_path, capsys):
    a = folders("a", {"one": "replicated"}, [1.0], [1.0, 1.0, 2.0, 2.0])
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, words in ((tmp_path / "no", "no such folder"), (empty, "numbers of the same name")):
        assert cli.main(["compare", str(empty), str(folder)]) == 2
        assert words in capsys.readouterr().err
    (a / "claims/mixup.csv").write_text("study,claim\n")
    assert cli.main(["compare", str(a), str(a)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
