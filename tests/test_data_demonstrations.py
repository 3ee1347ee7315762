"""Demonstrations: the arm, the simulator and the policies that are shipped."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collapse.artifacts import read_tensors, write_tensors
from collapse.data import sets
from collapse.data.catalogue import find, names
from collapse.data.kinds.demonstrations import Search, Task
from collapse.data.makers.demonstrations import LINKS, demonstrate, reach, read_policy
from collapse.errors import InputError
from collapse.stages import data, policy
from conftest import run_stage

SHIPPED = Path(__file__).resolve().parents[1] / "workflow/policies"
ALL_TASKS = [name for name in names() if isinstance(find(name), Task)]
TASKS = [name for name in ALL_TASKS if not find(name).expert]
NOISY = sorted(set(ALL_TASKS) - set(TASKS))
SEARCHED = [name for name in TASKS if find(name).search]
PARTS = ("train", "test")
angle = st.floats(-3, 3)


def policy_file(name):
    return SHIPPED / f"{name}.safetensors" if name in SEARCHED else None


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
def test_demonstrations_have_the_sizes_and_ranges_of_their_task(name):
    task, made = find(name), demonstrations(name)
    for part, count in (("train", task.train_count), ("test", task.test_count)):
        inputs, targets = made.arrays[f"{part}_inputs"], made.arrays[f"{part}_targets"]
        assert inputs.shape == (count, task.inputs) and targets.shape == (count, task.outputs)
        assert inputs.dtype == targets.dtype == np.float64
        assert np.isfinite(inputs).all() and np.abs(targets).max() <= 1
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
def test_a_seed_decides_the_demonstrations(name):
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


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_added_to_what_the_expert_does(name, monkeypatch):
    task = find(name)
    assert task.action_noise > 0 and task.train_count == 100_000
    monkeypatch.setattr(
        f"{sets.__name__}.{name}.SET", replace(task, train_count=3000, test_count=500)
    )
    policy_of = policy_file(task.expert)
    made = demonstrate(name, policy_of, 0, task.action_noise)
    if policy_of:
        tensors, _ = read_tensors(policy_of)

    def act(observation):
        if not policy_of:
            return reach(observation)
        return np.clip(tensors["gain"] @ ((observation - tensors["mean"]) / tensors["std"]), -1, 1)

    for part in PARTS:
        actions = np.array([act(each) for each in made.arrays[f"{part}_inputs"]])
        noise = made.arrays[f"{part}_targets"] - actions
        # White: of mean 0, one variance, and no memory, to five standard errors.
        scaled, error = noise / task.action_noise, 5 / len(noise) ** 0.5
        assert np.abs(scaled.mean(0)).max() < error
        assert np.abs(scaled.T @ scaled / len(noise) - np.eye(task.outputs)).max() < 1.5 * error
        assert np.abs((scaled[1:] * scaled[:-1]).mean(0)).max() < error
    assert made.attributes["action_noise"] == task.action_noise
    assert same(made, demonstrate(name, policy_of, 0, task.action_noise))


def test_without_noise_a_noisy_task_is_its_experts(monkeypatch):
    own = find("reacher")
    monkeypatch.setattr(
        f"{sets.__name__}.noisy_reacher.SET",
        replace(find("noisy_reacher"), train_count=own.train_count, test_count=own.test_count),
    )
    assert same(demonstrate("noisy_reacher", None, 0, 0.0), demonstrations("reacher"))


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
    told = {"name": name, "kind": "demonstrations", "seed": 0, "action_noise": 0.0}
    run_stage(data, out, policy_file(name), **told)
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
def test_a_policy_of_other_shapes_is_refused(damage, tmp_path):
    path = tmp_path / "other.safetensors"
    tensors = {"gain": np.ones((2, 8)), "mean": np.zeros(8), "std": np.ones(8)} | damage
    held = {key: array for key, array in tensors.items() if array is not None}
    write_tensors(path, held, {}, {"task": "swimmer"})
    with pytest.raises(InputError, match="other.safetensors: not a policy of swimmer, it holds"):
        demonstrate("swimmer", path, 0)


def test_a_policy_that_does_nothing_is_refused(tmp_path):
    path = tmp_path / "idle.safetensors"
    tensors = {"gain": np.zeros((2, 8)), "mean": np.zeros(8), "std": np.ones(8)}
    write_tensors(path, tensors, {}, {"task": "swimmer"})
    with pytest.raises(InputError, match=r"swimmer: target 'action\[0\]' has zero variance"):
        demonstrate("swimmer", path, 0)


# In a process of its own: this one may have imported the simulator already. What its children lack
# they have not imported before.
WITHOUT = """
import os, sys
from test_data_demonstrations import InputError, data, run_stage
for module in sys.argv[2:]:
    if os.fork() == 0:
        sys.modules[module] = None
        try:
            run_stage(
                data, sys.argv[1], name="reacher", kind="demonstrations", seed=0, action_noise=0.0
            )
        except InputError as error:
            print(module, error)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def test_without_a_simulator_a_line_says_what_to_install(tmp_path):
    out, modules = tmp_path / "reacher.safetensors", ["gymnasium", "mujoco", "imageio", "packaging"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, out, *modules],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == modules
    for module, line in zip(modules, lines, strict=True):
        assert line.startswith(f"{module} reacher: the simulator ")
        reason, _, advice = line.rpartition("): ")
        assert module in reason.lower()
        assert "install gymnasium, mujoco, imageio" in advice and "envs/requirements.txt" in advice
    assert not out.exists()


def test_the_policy_stage_searches_in_the_simulator(tmp_path, monkeypatch, capsys):
    short = Search(directions=1, best=1, step=0.02, noise=0.03, iterations=2)
    task = replace(find("swimmer"), search=short)
    monkeypatch.setattr(f"{sets.__name__}.swimmer.SET", task)
    paths = [tmp_path / f"{index}.safetensors" for index in range(2)]
    for path in paths:
        run_stage(policy, path, task="swimmer", seed=3)
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
def test_a_wrong_policy_spec_is_refused(told, reason, tmp_path):
    out = tmp_path / "policy.safetensors"
    with pytest.raises(InputError, match=f"^--spec: {reason}"):
        run_stage(policy, out, **told)
    assert not out.exists()
