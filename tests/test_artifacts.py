import json

import numpy as np
import pandas as pd
import pytest

from collapse.artifacts import read_table, read_tensors, replacing, write_table, write_tensors
from collapse.errors import InputError

TENSORS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2]), "empty": np.zeros((0, 3))}
FRAME = pd.DataFrame({"bias": [True, False], "name": ["x", "y"], "value": [1.5, np.nan]})


def test_tensors_come_back(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    write_tensors(path, TENSORS, {"seed": 1}, {"status": "completed"})
    tensors, attributes = read_tensors(path)
    assert attributes == {"status": "completed"}
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array)


def test_tables_come_back(tmp_path):
    path = tmp_path / "a.parquet"
    write_table(path, FRAME, {"seed": 1}, {"note": 3})
    frame = read_table(path)
    assert frame.attrs == {"note": 3}
    pd.testing.assert_frame_equal(frame, FRAME, check_dtype=False)


def test_same_content_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_tensors(tmp_path / f"{name}.safetensors", TENSORS, {"seed": 1})
        write_table(tmp_path / f"{name}.parquet", FRAME, {"seed": 1})
    for kind in ("safetensors", "parquet"):
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_the_sidecar_holds_what_does_not_determine_the_result(tmp_path):
    write_table(tmp_path / "a.parquet", FRAME, {})
    facts = json.loads((tmp_path / "a.parquet.run.json").read_text())
    assert {"wall_seconds", "host", "date", "commit"} == set(facts)


@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_damage_is_one_line(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    read = read_tensors if kind == "safetensors" else read_table
    if kind == "safetensors":
        write_tensors(path, TENSORS, {})
    else:
        write_table(path, FRAME, {})
    whole = path.read_bytes()
    flipped = bytearray(whole)
    value = whole.index(np.float64(1.5 if kind == "parquet" else 4.0).tobytes())
    flipped[value + 6] ^= 1
    for content in (whole[: len(whole) // 2], b"", b"nonsense", bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        read(path)


def test_nothing_is_left_half_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
