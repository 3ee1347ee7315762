import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from collapse import artifacts
from collapse.artifacts import (
    read_csv,
    read_table,
    read_tensors,
    replacing,
    stored_digest,
    stored_provenance,
    verified,
    write_csv,
    write_digests,
    write_table,
    write_tensors,
)
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


def test_the_commit_noted_is_the_projects_own(tmp_path):
    inner = tmp_path / "inner"
    package = inner / "workflow/collapse"
    package.mkdir(parents=True)
    for name in ("__init__", "artifacts", "errors"):
        shutil.copy(Path(artifacts.__file__).with_name(f"{name}.py"), package)
    program = "from collapse.artifacts import _commit; print(_commit())"
    environment = os.environ | {"PYTHONPATH": str(inner / "workflow")}
    environment |= {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    mine = ["-c", "user.name=n", "-c", "user.email=e"]

    def git(folder, *words):
        command = ["git", "-C", str(folder), *mine, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def noted():
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert noted() == "None"
    # Another repository around it, in which it is run.
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "one")
    assert noted() == "None"
    git(inner, "init")
    git(inner, "commit", "--allow-empty", "-m", "two")
    assert noted() == git(inner, "rev-parse", "HEAD") != git(tmp_path, "rev-parse", "HEAD")


def write_signed_csv(path, frame, provenance, attributes=None):
    write_csv(path, frame)
    write_digests([path], provenance)


KINDS = {
    "csv": (write_signed_csv, read_csv, FRAME),
    "safetensors": (write_tensors, read_tensors, TENSORS),
    "parquet": (write_table, read_table, FRAME),
}


def spelt(read, path):
    """What a reader returns, as text that tells any two apart."""
    found = read(path)
    tensors, attributes = found if isinstance(found, tuple) else (found, found.attrs)
    columns = {name: np.asarray(tensors[name]) for name in tensors}
    return repr([(k, v.dtype, v.shape, v.tolist()) for k, v in columns.items()]), attributes


@pytest.mark.parametrize("kind", [*KINDS, "digest.json"])
def test_a_damaged_file_reads_as_it_was_or_is_refused_in_one_line(tmp_path, kind):
    write, read, content = KINDS[kind.replace("digest.json", "csv")]
    path = tmp_path / f"a.{kind}"
    if kind == "digest.json":
        # Its reader is that of the file beside it.
        write, read = (
            (lambda _, *told: write_signed_csv(path.with_name("a.csv"), *told)),
            (lambda _: read_csv(path.with_name("a.csv"))),
        )
    write(path, content, {"code": "1f", "seed": 1}, {"mean": [0.286], "runs": [{"keys": {"m": 3}}]})
    whole, expected = path.read_bytes(), spelt(read, path)
    random, refused = np.random.default_rng(0), 0
    damaged = [whole[:length] for length in range(0, len(whole), 50)] + [b"nonsense"]
    places = random.permutation(len(whole))[:500]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        try:
            assert spelt(read, path) == expected
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    # JSON has letters that may be large or small.
    assert refused > len(places) * (0.98 if kind == "digest.json" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_says_nothing_of_itself_is_damaged(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    foreign = {"safetensors": lambda: save_file(TENSORS, path)}
    foreign |= {"parquet": lambda: FRAME.to_parquet(path), "csv": lambda: FRAME.to_csv(path)}
    foreign[kind]()
    for read in (KINDS[kind][1], stored_digest, stored_provenance):
        with pytest.raises(InputError, match="damaged"):
            read(path)
        with pytest.raises(InputError, match="no such file"):
            read(path.with_name(f"b.{kind}"))


def test_provenance_and_attributes_are_in_the_digest(tmp_path):
    digests = set()
    for number, told in enumerate([({}, {}), ({"seed": 1}, {}), ({}, {"seed": 1})]):
        write_tensors(tmp_path / f"{number}.safetensors", TENSORS, *told)
        digests.add(stored_digest(tmp_path / f"{number}.safetensors"))
    assert len(digests) == 3


def test_nothing_is_left_half_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_files_of_one_stem_have_their_digests_in_one_file(tmp_path):
    files = [tmp_path / f"a.{kind}" for kind in ("pdf", "png", "csv")]
    for path in files:
        path.write_bytes(path.suffix.encode() * 100)
    write_digests(files, {"code": "1f"})
    assert all(verified(path) == path for path in files)
    assert len({stored_digest(path) for path in files}) == 3
    assert all(stored_provenance(path) == {"code": "1f"} for path in files)
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(InputError, match="a.png: digest .* found, a.digest.json says"):
        verified(files[1])
    # A file beside them whose digest nobody took.
    (tmp_path / "a.html").write_text("page")
    with pytest.raises(InputError, match="a.html: without a digest in a.digest.json"):
        verified(tmp_path / "a.html")


def test_what_comes_damaged_from_a_cache_is_to_be_deleted_there(tmp_path):
    cached, path = tmp_path / "entry", tmp_path / "a.parquet"
    write_table(path, FRAME, {})
    path.rename(cached)
    cached.write_bytes(b"")
    path.symlink_to(cached)
    with pytest.raises(InputError, match=f"{path}.*{cached} in the cache"):
        read_table(path)


def test_what_is_in_the_way_of_a_file_is_one_line(tmp_path):
    (tmp_path / ".a.csv.tmp").mkdir()
    with pytest.raises(InputError, match="a.csv: cannot be written"):
        write_csv(tmp_path / "a.csv", FRAME)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_not_called_damaged(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.mkdir()
    for read in (KINDS[kind][1], stored_digest, stored_provenance):
        with pytest.raises(InputError, match=f"a.{kind}: no file, but a folder$"):
            read(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / ".a.csv.tmp").symlink_to("/dev/full")
    with pytest.raises(InputError, match="a.csv: cannot be written .*No space left on device"):
        write_csv(tmp_path / "a.csv", FRAME)
    assert not list(tmp_path.iterdir())
