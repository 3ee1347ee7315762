"""What jobs read and what they are told."""

import pytest

from collapse import jobs
from collapse.errors import InputError
from collapse.grid import expand
from conftest import study_regression


def test_jobs_refuse_data_that_is_not_there(load, tmp_path):
    source = {"table": str(tmp_path / "a.csv"), "targets": ["y"]}
    atlas = load({"datasets": {"mine": source}})
    with pytest.raises(InputError, match=r"datasets.mine.table: .*a.csv: no such file"):
        jobs.source(atlas, "mine", "home")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="no such file"):
        jobs.source(atlas, "mine", "home")
    for ask in (lambda: jobs.data(atlas, "my"), lambda: jobs.source(atlas, "my", "home")):
        with pytest.raises(InputError, match=r"no data set 'my' \(there are: .*mine"):
            ask()


def test_data_come_from_their_policies_tables_or_sources(load):
    atlas = load({"datasets": {"hopper": {"policy": "searched", "seed": 3}}})
    found = {name: jobs.source(atlas, name, "home") for name in atlas.data_sets}
    assert found.pop("hopper") == ["results/policies/hopper.safetensors"]
    assert found.pop("swimmer") == ["home/results/reference/policies/swimmer.safetensors"]
    assert set(map(tuple, found.values())) == {()}
    expected = {"name": "hopper", "kind": "demonstrations", "seed": 3}
    assert jobs.data(atlas, "hopper").told == expected
    assert jobs.policy(atlas, "hopper").told == {"task": "hopper", "seed": 3}
    for name in ("reacher", "digits"):
        with pytest.raises(InputError, match=f"no policy is searched for '{name}'"):
            jobs.policy(atlas, name)
    with pytest.raises(InputError, match="no data set 'hoper'"):
        jobs.policy(atlas, "hoper")


def test_null_decays_are_those_of_the_weights_in_every_job(load):
    grid_of = {"grid": {"weight_decay": [0.1, 0.0]}, "feature_decay": None, "seeds": 2}
    atlas = load(study_regression(reacher=grid_of, reacher_features=grid_of, free_features=grid_of))
    for name in ("reacher", "reacher_features", "free_features"):
        groups = atlas.groups("regression", name).values()
        runs = [each["config"] for group in groups for each in expand(group.spec)]
        job = jobs.predictions(atlas, "regression", name)
        predicted = [each["config"] for each in job.told["runs"]]
        assert len(runs) == 4 and len(predicted) == 2
        for each in (*runs, *predicted):
            assert each["feature_decay"] == each["weight_decay"]
        assert {each["weight_decay"] for each in runs} == {0.1, 0.0}
        if name == "reacher":
            assert all(each["backbone_decay"] == each["weight_decay"] for each in runs)
        elif name == "reacher_features":
            assert all(each["backbone_decay"] == 0 for each in runs)
        else:
            assert not any("backbone_decay" in each for each in (*runs, *predicted))
