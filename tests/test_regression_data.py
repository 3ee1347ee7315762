import re
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collapse.artifacts import read_tensors, write_tensors
from collapse.data import sets
from collapse.data.catalogue import find, names
from collapse.data.kinds.demonstrations import Search, Task
from collapse.data.makers.demonstrations import LINKS, demonstrate, reach, read_policy
from collapse.data.makers.generated import generate
from collapse.data.makers.table import from_file
from collapse.data.policy_search import Moments, Policy, search
from collapse.data.regressions import check_targets
from collapse.errors import InputError
from collapse.specs import Spec
from collapse.stages import data, policy

SHIPPED = Path(__file__).resolve().parents[1] / "results/reference/policies"
TASKS = [name for name in names() if isinstance(find(name), Task)]
SEARCHED = [name for name in TASKS if find(name).search]
PARTS = ("train", "test")

angle = st.floats(-3, 3)


def policy_file(name):
    return SHIPPED / f"{name}.safetensors" if name in SEARCHED else None


def run(stage, out, source=None, **told):
    """A stage, told this."""
    stage.run(Namespace(spec=Spec("any", (), told, code=""), source=source, out=str(out)))


@cache
def demonstrations(name):
    return demonstrate(name, policy_file(name), 0)


def same(first, second):
    return {key: array.tobytes() for key, array in first.arrays.items()} == {
        key: array.tobytes() for key, array in second.arrays.items()
    }


def fingertip(first, second):
    inner, outer = LINKS
    return np.array(
        [
            inner * np.cos(first) + outer * np.cos(first + second),
            inner * np.sin(first) + outer * np.sin(first + second),
        ]
    )


def observed(angles, target, speeds):
    return np.concatenate([np.cos(angles), np.sin(angles), target, speeds, fingertip(*angles)])


@settings(deadline=None)
@given(first=angle, second=angle)
def test_arm_that_is_there_rests(first, second):
    angles = np.array([first, second])
    action = reach(observed(angles, fingertip(*angles), np.zeros(2)))
    # An outstretched elbow is known only to the square root of the rounding of its cosine.
    assert np.abs(action).max() < 1e-6


@settings(deadline=None)
@given(first=angle, second=angle, elbow=st.floats(0.3, 2.8), shoulder=angle)
def test_arm_turns_to_the_nearer_solution(first, second, elbow, shoulder):
    angles, solution = np.array([first, second]), np.array([shoulder, elbow])
    target = fingertip(*solution)
    # The other solution mirrors the arm at the line from the shoulder to the target.
    mirrored = np.array([2 * np.arctan2(target[1], target[0]) - shoulder, -elbow])
    turns = [(each - angles + np.pi) % (2 * np.pi) - np.pi for each in (solution, mirrored)]
    # For a turn by half a circle the sign is the rounding's.
    assume(all(np.abs(np.abs(turn) - np.pi).min() > 1e-6 for turn in turns))
    sizes = [np.abs(turn).sum() for turn in turns]
    assume(abs(sizes[0] - sizes[1]) > 1e-6)
    expected = np.clip(turns[int(np.argmin(sizes))] / 2, -1, 1)
    assert np.abs(reach(observed(angles, target, np.zeros(2))) - expected).max() < 1e-6


def test_arm_is_damped_and_limited():
    angles = np.array([0.4, 1.1])
    target = fingertip(*angles)
    action = reach(observed(angles, target, np.array([1.0, -2.0])))
    assert action == pytest.approx([-19 / 200, 38 / 200], abs=1e-9)
    assert reach(observed(angles, target, np.array([-50.0, 50.0]))).tolist() == [1, -1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reacher_reaches_its_target(seed):
    made = demonstrate("reacher", None, seed)
    for part in PARTS:
        last = made.arrays[f"{part}_inputs"].reshape(-1, 50, 11)[:, -1]
        assert np.hypot(last[:, 8], last[:, 9]).max() < 0.02
    assert -6 < made.attributes["mean_return"] < -3


def test_reacher_acts_by_its_observation():
    arrays = demonstrations("reacher").arrays
    for part in PARTS:
        inputs, targets = arrays[f"{part}_inputs"], arrays[f"{part}_targets"]
        assert (np.array([reach(each) for each in inputs]) == targets).all()
        assert (inputs[:, 10] == 0).all() and (inputs[:, :10].std(0) > 0).all()


@pytest.mark.parametrize("name", TASKS)
def test_sizes(name):
    task, made = find(name), demonstrations(name)
    for part, count in (("train", task.train_count), ("test", task.test_count)):
        inputs, targets = made.arrays[f"{part}_inputs"], made.arrays[f"{part}_targets"]
        assert inputs.shape == (count, task.inputs) and targets.shape == (count, task.outputs)
        assert inputs.dtype == targets.dtype == np.float64
        assert np.isfinite(inputs).all() and np.abs(targets).max() <= 1
    assert task.test_count == task.train_count // 5
    assert len(made.attributes["inputs"]) == task.inputs
    assert len(made.attributes["targets"]) == task.outputs
    assert task.environment in made.attributes["source"]
    assert "seed 0" in made.attributes["source"]
    assert "gymnasium" in made.attributes["source"]


@pytest.mark.parametrize("name", TASKS)
def test_test_pairs_come_from_other_episodes(name):
    arrays = demonstrations(name).arrays
    seen = {each.tobytes() for each in arrays["train_inputs"]}
    assert not any(each.tobytes() in seen for each in arrays["test_inputs"])


def test_held_out_episode_is_thinned(monkeypatch):
    task = replace(find("swimmer"), test_count=1000, test_stride=1)
    thinned = demonstrations("swimmer").arrays
    monkeypatch.setattr(f"{sets.__name__}.swimmer.SET", task)
    whole = demonstrate("swimmer", policy_file("swimmer"), 0).arrays
    for key in ("test_inputs", "test_targets"):
        assert (whole[key][::5] == thinned[key]).all()


@pytest.mark.parametrize("name", TASKS)
def test_targets_span_all_directions(name):
    targets = demonstrations(name).arrays["train_targets"]
    assert np.linalg.eigvalsh(np.cov(targets.T, bias=True)).min() > 5e-3
    correlations = np.corrcoef(targets.T)[np.triu_indices(targets.shape[1], 1)]
    assert np.abs(correlations).max() < 0.9


@pytest.mark.parametrize("name", ["reacher", "swimmer"])
def test_seed_decides(name):
    first = demonstrations(name)
    assert same(first, demonstrate(name, policy_file(name), 0))
    other = demonstrate(name, policy_file(name), 1)
    for part in PARTS:
        key = f"{part}_inputs"
        assert not (first.arrays[key] == other.arrays[key]).all(1).any()


@pytest.mark.parametrize("name", SEARCHED)
def test_executed_action_is_the_policys(name):
    tensors, _ = read_tensors(policy_file(name))
    arrays = demonstrations(name).arrays
    for part in PARTS:
        scaled = (arrays[f"{part}_inputs"] - tensors["mean"]) / tensors["std"]
        actions = [np.clip(tensors["gain"] @ each, -1, 1) for each in scaled]
        assert (np.array(actions) == arrays[f"{part}_targets"]).all()


@pytest.mark.parametrize(("name", "least"), [("swimmer", 300), ("hopper", 2000)])
def test_shipped_policy_is_as_good_as_it_says(name, least):
    _, attributes = read_tensors(policy_file(name))
    mean_return = demonstrations(name).attributes["mean_return"]
    # The score leaves out what 1,000 steps of staying alive are worth.
    stated = attributes["score"] + 1000 * find(name).search.shift
    assert mean_return > least
    assert mean_return == pytest.approx(stated, rel=0.05)


@pytest.mark.parametrize("name", ["reacher", "swimmer"])
def test_stage_writes_what_is_made(name, tmp_path):
    out = tmp_path / "data.safetensors"
    run(data, out, policy_file(name), name=name, kind="demonstrations", seed=0)
    tensors, attributes = read_tensors(out)
    made = demonstrations(name)
    assert attributes == made.attributes
    assert all((tensors[key] == array).all() for key, array in made.arrays.items())


def test_policy_must_be_given_and_of_the_task(tmp_path):
    with pytest.raises(InputError, match="swimmer: needs the file of a policy"):
        demonstrate("swimmer", None, 0)
    with pytest.raises(InputError, match="none.safetensors: no such file"):
        demonstrate("swimmer", tmp_path / "none.safetensors", 0)
    with pytest.raises(InputError, match="not a policy of hopper, its task is 'swimmer'"):
        demonstrate("hopper", policy_file("swimmer"), 0)


@pytest.mark.parametrize(
    "damage", [{"gain": np.ones((3, 8))}, {"mean": np.zeros(7)}, {"std": None}]
)
def test_policy_of_other_shapes(damage, tmp_path):
    path = tmp_path / "other.safetensors"
    tensors = {"gain": np.ones((2, 8)), "mean": np.zeros(8), "std": np.ones(8)} | damage
    held = {key: array for key, array in tensors.items() if array is not None}
    write_tensors(path, held, {}, {"task": "swimmer"})
    with pytest.raises(InputError, match="other.safetensors: not a policy of swimmer, it holds"):
        demonstrate("swimmer", path, 0)


def test_policy_that_does_nothing(tmp_path):
    path = tmp_path / "idle.safetensors"
    tensors = {"gain": np.zeros((2, 8)), "mean": np.zeros(8), "std": np.ones(8)}
    write_tensors(path, tensors, {}, {"task": "swimmer"})
    with pytest.raises(InputError, match=r"swimmer: target 'action\[0\]' has zero variance"):
        demonstrate("swimmer", path, 0)


@pytest.mark.parametrize("module", ["gymnasium", "mujoco", "imageio", "packaging"])
def test_missing_simulator(module, tmp_path):
    out = tmp_path / "reacher.safetensors"
    # In a process of its own: this one may have imported the simulator already.
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from test_regression_data import InputError, data, run\n"
        f"try: run(data, {str(out)!r}, name='reacher', kind='demonstrations', seed=0)\n"
        "except InputError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("reacher: the simulator ")
    reason, _, advice = line.rpartition("): ")
    assert module in reason.lower()
    assert "install gymnasium, mujoco, imageio" in advice and "envs/requirements.txt" in advice
    assert not out.exists()


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
def test_moments(rows):
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


def test_short_search_in_the_simulator(tmp_path, monkeypatch, capsys):
    short = Search(directions=1, best=1, step=0.02, noise=0.03, iterations=2)
    task = replace(find("swimmer"), search=short)
    monkeypatch.setattr(f"{sets.__name__}.swimmer.SET", task)
    paths = [tmp_path / f"{index}.safetensors" for index in range(2)]
    for path in paths:
        run(policy, path, task="swimmer", seed=3)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert re.match(r"4 episodes: return -?\d+\.\d\n", capsys.readouterr().out)
    found = read_policy(paths[0], "swimmer", task)
    assert found.gain.shape == (2, 8) and found.mean.shape == found.std.shape == (8,)
    assert (found.gain != 0).all() and (found.std != 1).all()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"task": "reacher", "seed": 0}, "task is 'reacher', allowed are hopper, swimmer"),
        ({"seed": 0}, "task is None, allowed are hopper, swimmer"),
        ({"task": "swimmer"}, "seed is None, allowed are whole numbers from 0"),
        ({"task": "swimmer", "seed": -1}, "seed is -1, allowed are whole numbers from 0"),
    ],
)
def test_policy_spec(told, reason, tmp_path):
    out = tmp_path / "policy.safetensors"
    with pytest.raises(InputError, match=f"^--spec: {reason}"):
        run(policy, out, **told)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "shape", "targets"),
    [("linnerud", (20, 3), 3), ("diabetes", (442, 10), 1)],
)
def test_package(name, shape, targets, tmp_path):
    made = generate(name)
    arrays, attributes = made.arrays, made.attributes
    assert arrays["train_inputs"].shape == shape
    assert arrays["train_targets"].shape == (shape[0], targets)
    assert arrays["test_inputs"].shape == (0, shape[1])
    assert arrays["test_targets"].shape == (0, targets)
    assert all(array.dtype == np.float64 for array in arrays.values())
    assert len(attributes["inputs"]) == shape[1] and len(attributes["targets"]) == targets
    out = tmp_path / "data.safetensors"
    run(data, out, name=name, kind="generated")
    assert (read_tensors(out)[0]["train_targets"] == arrays["train_targets"]).all()


def test_package_values():
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
def test_own_table(tmp_path, suffix):
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


def test_own_table_through_the_stage(tmp_path):
    out = tmp_path / "data.safetensors"
    told = {"name": "own", "kind": "table", "targets": ["y"], "inputs": None, "test_share": 0.5}
    run(data, out, written(tmp_path, frame(10)), **told)
    tensors, attributes = read_tensors(out)
    assert tensors["train_targets"].ravel().tolist() == [0, 2, 4, 1, 3]
    assert attributes["inputs"] == ["a", "b", "z"]
    with pytest.raises(InputError, match="^own: needs the file of the table"):
        run(data, out, **told)


@settings(deadline=None, max_examples=50)
@given(rows=st.integers(4, 60), every=st.integers(2, 12))
def test_split(tmp_path_factory, rows, every):
    path = written(tmp_path_factory.getbasetemp(), frame(rows))
    arrays = from_file("own", path, ["z", "y"], ["a"], 1 / every).arrays
    train, test = (arrays[f"{part}_inputs"].ravel() for part in PARTS)
    assert sorted([*train, *test]) == list(range(rows))
    assert test.tolist() == list(range(every - 1, rows, every))
    assert (np.diff(train) > 0).all()
    for part, inputs in (("train", train), ("test", test)):
        assert (arrays[f"{part}_targets"] == np.stack([-inputs, inputs % 5], 1)).all()


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
        (GOOD + "4,,1\n", ["y"], None, "column 'b' is NaN or infinite in row 4"),
        (GOOD + "4,1\n", ["y"], None, "column 'y' is NaN or infinite in row 4"),
        ("a,y\n1,2\n-inf,3\nnan,4\n", ["y"], None, "column 'a' is NaN or infinite in row 1"),
        ("a,y\n1,7\n2,7\n3,7\n4,7\n", ["y"], None, "target 'y' has zero variance"),
        # Every second row is for testing: it varies there only.
        ("a,y\n1,7\n2,8\n3,7\n4,9\n", ["y"], None, "target 'y' has zero variance"),
        ("a,y\n1,2\n3,4\n", ["y"], None, "1 rows for training, allowed are 2 or more"),
    ],
)
def test_bad_table(tmp_path, text, targets, inputs, reason):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {reason}") as error:
        from_file("own", str(path), targets, inputs, 0.5)
    assert "\n" not in str(error.value)


def test_unreadable_table(tmp_path):
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
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="folder.csv: cannot be read"):
        from_file("own", str(tmp_path / "folder.csv"), ["y"], None, 0.2)


def test_parquet_columns(tmp_path):
    table = frame(4).assign(a=pd.array([1, None, 3, 4], dtype="Int64"))
    with pytest.raises(InputError, match="column 'a' is NaN or infinite in row 1"):
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
