"""What jobs read and what they are told."""

import shutil

import pytest

from collapse import config, jobs
from collapse.errors import InputError
from collapse.grid import expand
from conftest import study_regression


def test_jobs_refuse_data_that_is_not_there(load, tmp_path):
    source = {"table": str(tmp_path / "a.csv"), "targets": ["y"]}
    atlas = load({"datasets": {"mine": source}})
    with pytest.raises(InputError, match=r"datasets.mine.table: .*a.csv: no such file"):
        jobs.source(atlas, "mine", "home")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="no regular file"):
        jobs.source(atlas, "mine", "home")
    for ask in (lambda: jobs.data(atlas, "my"), lambda: jobs.source(atlas, "my", "home")):
        with pytest.raises(InputError, match=r"no data set 'my' \(there are: .*mine"):
            ask()


def test_data_come_from_their_policies_tables_or_sources(load):
    atlas = load({"datasets": {"hopper": {"policy": "searched", "seed": 3}}})
    found = {name: jobs.source(atlas, name, "home") for name in atlas.data_sets}
    assert found.pop("hopper") == ["results/policies/hopper.safetensors"]
    assert found.pop("swimmer") == ["home/workflow/policies/swimmer.safetensors"]
    # Another data set of the same expert.
    assert found.pop("noisy_hopper") == ["home/workflow/policies/hopper.safetensors"]
    assert found.pop("noisy_swimmer") == ["home/workflow/policies/swimmer.safetensors"]
    assert set(map(tuple, found.values())) == {()}
    expected = {"name": "hopper", "kind": "demonstrations", "seed": 3, "action_noise": 0.0}
    assert jobs.data(atlas, "hopper").told == expected
    assert jobs.data(atlas, "noisy_swimmer").told["action_noise"] == 0.2
    noises = {"noisy_swimmer": 0, "reacher": 0.5}
    quiet = load({"datasets": {name: {"action_noise": noise} for name, noise in noises.items()}})
    assert {name: jobs.data(quiet, name).told["action_noise"] for name in noises} == noises
    assert jobs.policy(atlas, "hopper").told == {"task": "hopper", "seed": 3}
    for name in ("reacher", "digits", "noisy_hopper"):
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


@pytest.fixture
def mixup(tmp_path):
    """Load the config of one study alone, its experiments overridden."""
    for name in ("config.yaml", "studies/mixup.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"config/{name}", tmp_path / name)

    def read(**experiments):
        return config.load(tmp_path, {"scale": "paper", "mixup": experiments}, "my.yaml")

    return read


def reads(job):
    return {path.split("/")[1] for path in job.files("tables")}


def test_an_experiment_of_null_is_left_out_of_what_may_do_without_it(mixup):
    gone = {"network_second_data", "network_fashion", "vit_mixup"}
    whole, atlas = mixup(), mixup(**dict.fromkeys(gone))
    assert whole.studies["mixup"].keys() - atlas.studies["mixup"].keys() == gone
    study = jobs.studies.load("mixup")
    figures = {name: jobs.figure(atlas, "mixup", name) for name in study.figures}
    named = {name: figure.reads for name, figure in study.figures.items()}
    for job, wanted in (
        *((figures[name], wanted) for name, wanted in named.items()),
        (jobs.claims(atlas, "mixup"), study.claims_read),
    ):
        assert reads(job) == set(job.told["experiments"]) == set(wanted) - gone
    assert reads(jobs.figure(whole, "mixup", "activations")) == set(named["activations"])
    assert reads(jobs.claims(whole, "mixup")) == set(study.claims_read)
    # Of what does not read them nothing changes.
    assert jobs.figure(whole, "mixup", "fixed_etf").told == figures["fixed_etf"].told


def test_what_needs_an_experiment_of_null_is_refused_in_a_line(mixup):
    atlas = mixup(network_baseline=None)
    study = jobs.studies.load("mixup")
    needing = {name for name, each in study.figures.items() if "network_baseline" in each.reads}
    assert "loss_comparison" in needing and "fixed_etf" not in needing
    asks = [lambda name=name: jobs.figure(atlas, "mixup", name) for name in needing]
    for ask in (*asks, lambda: jobs.claims(atlas, "mixup")):
        with pytest.raises(InputError, match="mixup.network_baseline: null found") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert reads(jobs.figure(atlas, "mixup", "fixed_etf")) == {"network_mixup", "network_fixed_etf"}
