"""What all studies share: claims, their files, and the tables that they are decided from."""

import argparse
import ast
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from collapse import provenance, studies
from collapse.artifacts import write_table
from collapse.errors import InputError
from collapse.stages import claims, join_claims
from collapse.studies import Results, along_axes, read_experiments
from collapse.studies.networks import data_name, describe, model_name
from collapse.studies.verdicts import Claim

CLAIM = Claim("falls", "a paper", "It falls.", "what is left is 0", 0.1, 2, bound="theory")


def test_a_claim_says_who_set_its_bound():
    assert replace(CLAIM, bound="paper").bound == "paper"
    assert Claim(*list(vars(CLAIM).values())[:-1]).bound == "project"
    row = CLAIM.decide([0.05], 2)
    assert list(row)[4:6] == ["tolerance", "bound"] and row["bound"] == "theory"
    assert [*row] == [name for name in claims.COLUMNS if name not in ("study", "scale")]


@pytest.mark.parametrize("bound", ["", "papers", "ours", None])
def test_a_bound_that_nobody_sets_is_refused(bound):
    with pytest.raises(ValueError, match="falls: bound .* allowed: paper, theory, project"):
        replace(CLAIM, bound=bound)


def experiment(config=None):
    """Return an experiment of two depths and seeds, with points of two probes."""
    keys = {"depth": [1, 1, 2, 2], "seed": [0, 1, 0, 1]}
    metrics = pd.DataFrame(
        keys | {"step": 7, "layer": "all", "metric": "loss", "value": [4.0, 3.0, 2.0, 1.0]}
    )
    predictions = pd.DataFrame(keys | {"metric": "loss", "value": 1.0})
    marks = {"step": 7, "layer": "all"}
    found = [
        pd.DataFrame(keys | marks | {"probe": "residuals", "sample": 3, "residual": -0.5}),
        pd.DataFrame(keys | marks | {"probe": "means", "x": [np.nan, 1.0, 2.0, 3.0]}),
    ]
    grid = {"head.depth": [1, 2]}
    return Results(
        {"grid": grid, "head": {"depth": 1, "bias": True}} | (config or {}),
        metrics,
        predictions,
        pd.concat(found, ignore_index=True),
    )


def test_points_are_those_of_one_probe_without_the_columns_of_others():
    given = experiment()
    place = ["depth", "seed", "step", "layer", "probe"]
    residuals, means = given.points("residuals"), given.points("means")
    assert list(residuals) == [*place, "sample", "residual"]
    assert list(means) == [*place, "x"] and len(means) == 4
    assert set(residuals["sample"]) == {3} and set(residuals["residual"]) == {-0.5}
    assert given.points("unknown").empty


def test_points_vary_along_the_axes_and_only_along_them():
    along = along_axes(experiment(), ("head.depth", "head.bias"))
    assert set(along.points("means")["depth"]) == {1, 2}
    for table in (along.metrics, along.predictions, along.samples):
        assert table["bias"].eq(True).all()
    single = along_axes(experiment(), ())
    assert single.note == "depth = 1 of 2 values"
    for table in (single.metrics, single.predictions, single.samples):
        assert set(table["depth"]) == {1}
    assert len(single.points("residuals")) == 2


def test_an_experiment_is_read_from_its_three_tables(tmp_path):
    given = experiment()
    folder = tmp_path / "deep_linear" / "small"
    names = ("metrics", "predictions", "samples")
    for name in names:
        write_table(folder / f"{name}.parquet", getattr(given, name), {})
    paths = [str(folder / f"{name}.parquet") for name in names]
    found = read_experiments(paths, {"small": given.config}, "deep_linear")["small"]
    assert found.config == given.config
    pd.testing.assert_frame_equal(
        found.points("residuals").drop(columns="bias"), given.points("residuals")
    )
    assert found.last("loss")["value"].tolist() == [4.0, 3.0, 2.0, 1.0]


def test_networks_are_named_by_their_labels():
    labels = {
        "model": "MLP 6x512",
        "data": "Fashion-MNIST",
        "samples": "200 samples a class",
        "loss": "MSE",
    }
    config = {"labels": labels}
    assert (model_name(config), data_name(config)) == ("MLP 6x512", "Fashion-MNIST")
    assert describe(config) == "MLP 6x512 on Fashion-MNIST, 200 samples a class, MSE"


HEADER = ",".join(claims.COLUMNS) + "\n"
AWKWARD = {
    "claim": ["one", "two"],
    "source": ['a "paper"', "NA"],
    "statement": ["W, H and b; all", "in two\nlines"],
    "expected": ["", "None"],
    "tolerance": [1e-10, 0.1],
    "bound": ["theory", "project"],
    "measured": ["median 0.1, worst 0.30", "no run (μ)"],
    "seeds": [3, 1],
    "verdict": ["replicated", "inconclusive"],
}


def written(path, study):
    """Write the claims of a study as the stage does; return the text of the file."""
    frame = pd.DataFrame({"study": study, "scale": "007", **AWKWARD}, columns=claims.COLUMNS)
    claims.write_csv(path, frame)
    return Path(path).read_text()


def joined(*paths, out):
    spec = SimpleNamespace(reads={"claims": [str(path) for path in paths]})
    join_claims.run(argparse.Namespace(spec=spec, out=str(out)))
    return Path(out).read_text()


def test_joined_claims_are_those_of_the_studies_in_order_byte_for_byte(tmp_path):
    paths = [tmp_path / name for name in ("b.csv", "a.csv")]
    texts = [written(path, path.stem) for path in paths]
    assert all(text.startswith(HEADER) for text in texts)
    text = joined(*paths, out=tmp_path / "claims.csv")
    assert text == HEADER + "".join(each.removeprefix(HEADER) for each in texts)
    assert joined(paths[1], out=tmp_path / "one.csv") == texts[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("", "columns are [], should be study, claim, source"),
        ("study,claim\na,b\n", "columns are ['study', 'claim'], should be study"),
        (",".join(claims.COLUMNS[:-1]) + "\n", "columns are"),
        (HEADER + "a," * 30 + "\n", "row 1 has 31 of 11 columns"),
        (HEADER + "a," * 10 + "\na,b\n", "row 2 has 2 of 11 columns"),
        (HEADER + 'a,"b', "cannot be read as csv"),
        ("study\xff", "cannot be read as csv"),
    ],
)
def test_a_file_that_holds_no_claims_is_refused_in_a_line(tmp_path, text, told):
    path = tmp_path / "claims" / "x.csv"
    if text is not None:
        path.parent.mkdir()
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as error:
        joined(path, out=tmp_path / "claims.csv")
    message = str(error.value)
    assert message.startswith(str(path)) and told in message and "\n" not in message
    assert not (tmp_path / "claims.csv").exists()


def test_joining_depends_on_no_study():
    modules = provenance.imported_modules(["collapse.stages.join_claims"])
    assert not [name for name in modules if name.startswith("collapse.studies.")]


def folders():
    """Return the studies of the package by the folders that hold them."""
    return [path.parent for path in Path(studies.__file__).parent.glob("*/claims.py")]


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_every_bound_in_the_studies_is_a_word_that_claims_know(folder):
    import_module(f"collapse.studies.{folder.name}.claims")
    calls = [
        node
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim"
    ]
    words = [word.value for call in calls for word in call.keywords if word.arg == "bound"]
    assert len(calls) > 5 and words
    for word in words:
        assert replace(CLAIM, bound=ast.literal_eval(word)).bound != "project"
