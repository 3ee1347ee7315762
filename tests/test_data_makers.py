"""Data that functions make, and tables of the users."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.artifacts import read_tensors, write_tensors
from collapse.data import sets
from collapse.data.dataset import load
from collapse.data.kinds.generated import Generated
from collapse.data.makers.generated import generate
from collapse.data.makers.table import from_file
from collapse.data.regressions import check_targets, held_out
from collapse.errors import InputError
from collapse.stages import data as stage
from collapse.training.samples import training_set
from conftest import CPU, run_stage


def generated(monkeypatch, numbers, **changes):
    """What is made of a function's inputs and targets."""
    wanted = Generated(title="x", load=lambda: numbers, **changes)
    monkeypatch.setattr(f"{sets.__name__}.linnerud.SET", wanted)
    return generate("linnerud")


def test_labelled_samples_that_a_function_makes(monkeypatch, tmp_path):
    rows = np.stack([np.arange(20.0), np.full(20, 7.0)], 1)
    numbers, classes = (rows, np.arange(20) % 2), ("even", "odd")
    made = generated(monkeypatch, numbers, classes=classes, test_share=0.5)
    path = tmp_path / "made.safetensors"
    write_tensors(path, made.arrays, {}, made.attributes)
    data = load(path)
    assert data.inputs.shape == data.test_inputs.shape == (10, 2, 1, 1)
    assert data.targets.tolist() == [0] * 10 and data.test_targets.tolist() == [1] * 10
    inputs = training_set(data, {"name": "toy"}, CPU)[0].take(slice(None))
    assert inputs[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert inputs[:, 0].std(correction=0).item() == pytest.approx(1)
    assert (inputs[:, 1] == 0).all()
    pictures = np.zeros((4, 9), np.uint8), [0, 1, 0, 1]
    made = generated(monkeypatch, pictures, classes=classes, image_shape=(1, 3, 3))
    assert made.arrays["train_inputs"].shape == (4, 1, 3, 3)


@pytest.mark.parametrize(
    ("inputs", "targets", "changes", "reason"),
    [
        (np.ones((3, 1)), np.ones((2, 1)), {}, "3 inputs and 2 targets found"),
        (np.full((3, 1), np.nan), np.ones((3, 1)), {}, "3 inputs and 3 .* all finite"),
        (np.ones((3, 2)), np.ones((3, 1)), {}, r"inputs of shape \(3, 2\), named are 1"),
        (np.ones((3, 1)), np.ones(3), {}, r"targets of shape \(3,\), named are 1"),
        (np.ones((3, 1)), np.ones((3, 1)), {}, "target 'y' has zero variance"),
        (np.ones((3, 1)), [0, 1, 2], {"classes": ("a", "b")}, "allowed are N labels from 0 to 1"),
        (np.ones((3, 1)), [0, 0.5, 1], {"classes": ("a", "b")}, "allowed are N labels from 0 to 1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(monkeypatch, inputs, targets, changes, reason):
    named = {"inputs": ("x",), "targets": ("y",)}
    with pytest.raises(InputError, match=f"^linnerud: .*{reason}"):
        generated(monkeypatch, (inputs, targets), **named, **changes)


@pytest.mark.parametrize(
    ("name", "shape", "targets"),
    [("linnerud", (20, 3), 3), ("diabetes", (442, 10), 1)],
)
def test_data_of_a_package_keep_their_shape(name, shape, targets, tmp_path):
    made = generate(name)
    arrays, attributes = made.arrays, made.attributes
    assert arrays["train_inputs"].shape == shape
    assert arrays["train_targets"].shape == (shape[0], targets)
    assert arrays["test_inputs"].shape == (0, shape[1])
    assert arrays["test_targets"].shape == (0, targets)
    assert all(array.dtype == np.float64 for array in arrays.values())
    assert len(attributes["inputs"]) == shape[1] and len(attributes["targets"]) == targets
    out = tmp_path / "data.safetensors"
    run_stage(stage, out, name=name, kind="generated")
    assert (read_tensors(out)[0]["train_targets"] == arrays["train_targets"]).all()


def test_data_of_a_package_are_the_published_numbers():
    made = generate("linnerud")
    assert made.attributes["inputs"] == ["Chins", "Situps", "Jumps"]
    assert made.attributes["targets"] == ["Weight", "Waist", "Pulse"]
    linnerud = made.arrays["train_targets"]
    spectrum = np.linalg.eigvalsh(np.cov(linnerud.T, bias=True))
    assert spectrum == pytest.approx([2.321, 42.263, 593.686], abs=1e-3)
    diabetes = generate("diabetes").arrays
    assert diabetes["train_targets"].var() == pytest.approx(5929.885, abs=1e-3)
    # Years of age: the inputs are not scaled.
    assert diabetes["train_inputs"][0, 0] == 59


def frame(rows):
    index = np.arange(float(rows))
    return pd.DataFrame({"a": index, "b": index**2 % 7, "y": index % 5, "z": -index})


def written(folder, table, suffix=".csv"):
    path = folder / f"own{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_the_users_is_read_from_csv_and_parquet(tmp_path, suffix):
    path = written(tmp_path, frame(10), suffix)
    made = from_file("own", path, ["z", "y"], None, 0.2)
    arrays, attributes = made.arrays, made.attributes
    assert attributes["inputs"] == ["a", "b"] and attributes["targets"] == ["z", "y"]
    assert arrays["train_inputs"][:, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert arrays["test_inputs"][:, 0].tolist() == [4, 9]
    assert arrays["test_targets"].tolist() == [[-4, 4], [-9, 4]]
    assert attributes["name"] == "own"
    assert re.fullmatch(rf"table own\{suffix}, sha256 [0-9a-f]{{64}}", attributes["source"])
    chosen = from_file("own", path, ["y"], ["b", "z"], 0)
    assert chosen.arrays["train_inputs"].shape == (10, 2)
    assert (chosen.arrays["train_inputs"][:, 1] == -np.arange(10.0)).all()
    assert chosen.arrays["test_inputs"].shape == (0, 2)


def test_the_data_stage_makes_a_table_of_the_users(tmp_path):
    out = tmp_path / "data.safetensors"
    told = {"name": "own", "kind": "table", "targets": ["y"], "inputs": None, "test_share": 0.5}
    run_stage(stage, out, written(tmp_path, frame(10)), **told)
    tensors, attributes = read_tensors(out)
    assert tensors["train_targets"].ravel().tolist() == [0, 2, 4, 1, 3]
    assert attributes["inputs"] == ["a", "b", "z"]
    with pytest.raises(InputError, match="^own: needs the file of the table"):
        run_stage(stage, out, **told)


@settings(deadline=None, max_examples=50)
@given(rows=st.integers(4, 60), every=st.integers(2, 12))
def test_every_kth_row_of_a_table_is_for_testing(tmp_path_factory, rows, every):
    path = written(tmp_path_factory.getbasetemp(), frame(rows))
    if every > rows:
        with pytest.raises(InputError, match=f"keeps none of {rows} rows for testing"):
            from_file("own", path, ["z", "y"], ["a"], 1 / every)
        return
    arrays = from_file("own", path, ["z", "y"], ["a"], 1 / every).arrays
    train, test = (arrays[f"{part}_inputs"].ravel() for part in ("train", "test"))
    assert sorted([*train, *test]) == list(range(rows))
    assert test.tolist() == list(range(every - 1, rows, every))
    assert (np.diff(train) > 0).all()
    for part, inputs in (("train", train), ("test", test)):
        assert (arrays[f"{part}_targets"] == np.stack([-inputs, inputs % 5], 1)).all()


def test_columns_of_several_levels_and_endless_numbers_are_refused(tmp_path):
    levels = pd.DataFrame({("a", "b"): [1.0, 2.0], ("y", "q"): [2.0, 1.0]})
    levels.to_parquet(tmp_path / "levels.parquet")
    (tmp_path / "long.csv").write_text("a,y\n1,2\n" + "9" * 350 + ",3\n2,4\n")
    for name, words in (("levels.parquet", "several levels"), ("long.csv", "column 'a'")):
        with pytest.raises(InputError, match=words):
            from_file("mine", str(tmp_path / name), ["y"], None, 0.0)


GOOD = "a,b,y\n0,1,2\n1,3,5\n2,0,1\n3,1,1\n"


@pytest.mark.parametrize(
    ("text", "targets", "inputs", "reason"),
    [
        ("", ["y"], None, "cannot be read"),
        (GOOD + "1,2,3,4\n", ["y"], None, "cannot be read"),
        (GOOD, ["yy"], None, r"no column 'yy', did you mean 'y'\? \(it has a, b, y\)"),
        (GOOD, ["y"], ["weight"], r"no column 'weight' \(it has a, b, y\)"),
        (GOOD, ["y"], ["a", "y"], "column 'y' is asked for twice"),
        (GOOD, ["y", "y"], None, "column 'y' is asked for twice"),
        (GOOD, ["y"], ["b", "b"], "column 'b' is asked for twice"),
        (GOOD, ["a", "b", "y"], None, "no column is left for the inputs"),
        (GOOD + "4,many,1\n", ["y"], None, "column 'b' holds .*many in row 4"),
        ("a,y\nTrue,1\nFalse,2\nTrue,3\n", ["y"], None, "column 'a' holds bool.* in row 0"),
        ("a,a,y\n1,2,3\n2,3,4\n", ["y"], None, r"cannot be read \(two columns are named 'a'\)"),
        ("a,y\n1,2,3\n2,3,4\n", ["y"], None, r"cannot be read \(.*header"),
        ("a,y\n", ["y"], None, "0 rows for training, allowed are 2 or more"),
        (GOOD + "4,,1\n", ["y"], None, "column 'b' is NaN, infinite or beyond 1e\\+140 in row 4"),
        (GOOD + "4,1\n", ["y"], None, "column 'y' is NaN, infinite or beyond 1e\\+140 in row 4"),
        ("a,y\n1,2\n-1e141,3\n2,4\n", ["y"], None, "column 'a' is NaN, infinite or beyond"),
        (
            "a,y\n1,2\n-inf,3\nnan,4\n",
            ["y"],
            None,
            "column 'a' is NaN, infinite or .* in row 1",
        ),
        ("a,y\n1,7\n2,7\n3,7\n4,7\n", ["y"], None, "target 'y' has zero variance"),
        # Every second row is for testing: it varies there only.
        ("a,y\n1,7\n2,8\n3,7\n4,9\n", ["y"], None, "target 'y' has zero variance"),
        ("a,y\n1,2\n3,4\n", ["y"], None, "1 rows for training, allowed are 2 or more"),
        (",a,y\n0,1,2\n1,3,5\n", ["y"], None, "column 1 has no name, .* say by `inputs`"),
        ('"","a","y"\n"1",1,2\n"2",3,5\n', ["y"], None, "column 1 has no name"),
        ("a,Unnamed: 0,y\n0,1,2\n1,3,5\n", ["y"], None, "column 2 has no name"),
        ("a;b;y\n0;1;2\n", ["y"], None, r"cannot be read \(separated by ';', allowed is ','\)"),
        ("a\tb\ty\n0\t1\t2\n", ["y"], None, "cannot be read .separated by .*t"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, text, targets, inputs, reason):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {reason}") as error:
        from_file("own", str(path), targets, inputs, 0.5)
    assert "\n" not in str(error.value)


def test_a_share_that_keeps_no_row_for_testing_is_refused(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(GOOD)
    with pytest.raises(InputError, match=r"0.1 keeps none of 4 rows .*, allowed are 0, or 0.25"):
        from_file("own", str(path), ["y"], None, 0.1)
    assert len(from_file("own", str(path), ["y"], None, 0.25).arrays["test_inputs"]) == 1


def test_named_inputs_are_the_way_out_where_rows_have_names(tmp_path):
    path = tmp_path / "own.csv"
    frame(9).to_csv(path)
    made = from_file("own", str(path), ["y"], ["a", "b"], 0)
    assert made.arrays["train_inputs"].tolist() == frame(9)[["a", "b"]].to_numpy().tolist()


def test_the_index_of_a_parquet_file_is_a_column(tmp_path):
    path = str(tmp_path / "own.parquet")
    table = frame(9).set_index(pd.Index([9, 8, 7, 6, 5, 4, 3, 1, 2]))
    table.to_parquet(path)
    with pytest.raises(InputError, match="column 1 has no name, .* say by `inputs`"):
        from_file("own", path, ["y"], None, 0)
    assert from_file("own", path, ["y"], ["a"], 0).attributes["inputs"] == ["a"]
    table.rename_axis("time").to_parquet(path)
    made = from_file("own", path, ["y"], None, 0)
    assert made.attributes["inputs"] == ["time", "a", "b", "z"]
    assert made.arrays["train_inputs"][:, 0].tolist() == table.index.tolist()


@settings(deadline=None, max_examples=100)
@given(rows=st.integers(1, 500), percent=st.integers(0, 50))
def test_the_share_of_the_rows_that_is_asked_for_is_kept(rows, percent):
    test = held_out(rows, percent / 100)
    assert test.sum() == rows * percent // 100
    # Spaced as evenly as can be.
    gaps = np.diff(np.flatnonzero(test))
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="own.csv: no such file"):
        from_file("own", str(tmp_path / "own.csv"), ["y"], None, 0.2)
    for name in ("own.txt", "own"):
        (tmp_path / name).write_text(GOOD)
        with pytest.raises(InputError, match=f"{name}: allowed are files named .csv or .parquet"):
            from_file("own", str(tmp_path / name), ["y"], None, 0.2)
    for name, content in (("own.parquet", b"PAR1"), ("own.csv", b"\xff\xfe\x00\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            from_file("own", str(tmp_path / name), ["y"], None, 0.2)
    for name in ("folder.csv", "folder.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=f"{name}: cannot be read .*directory"):
            from_file("own", str(tmp_path / name), ["y"], None, 0.2)


def test_missing_values_and_dates_in_parquet_are_refused(tmp_path):
    table = frame(4).assign(a=pd.array([1, None, 3, 4], dtype="Int64"))
    with pytest.raises(InputError, match="column 'a' is NaN, infinite or .* in row 1"):
        from_file("own", written(tmp_path, table, ".parquet"), ["y"], None, 0)
    table = frame(4).assign(a=pd.date_range("2020", periods=4))
    with pytest.raises(InputError, match="column 'a' holds datetime64.* in row 0"):
        from_file("own", written(tmp_path, table, ".parquet"), ["y"], None, 0)


def test_targets_are_finite_and_vary():
    good = np.array([[1.0, 2.0], [2.0, 3.0]])
    check_targets("here", good, ["u", "v"])
    for value, reason in ((np.nan, "is nan in row 1"), (np.inf, "is inf in row 1")):
        bad = good.copy()
        bad[1, 1] = value
        with pytest.raises(InputError, match=f"here: target 'v' {reason}"):
            check_targets("here", bad, ["u", "v"])
    with pytest.raises(InputError, match="here: target 'u' has zero variance, it is 1 in every"):
        check_targets("here", np.array([[1.0, 2.0], [1.0, 3.0]]), ["u", "v"])
