import shutil
from pathlib import Path

import pytest
import yaml

from collapse import config, grid, jobs
from collapse.errors import InputError

SCALES = ("smoke", "laptop", "reference", "paper")


def load(user=None, scale="smoke"):
    return config.load("config", {"scale": scale} | (user or {}), "my.yaml")


def refusal(user):
    with pytest.raises(InputError) as caught:
        load(user)
    message = str(caught.value)
    assert "\n" not in message
    return message


def study(**experiments):
    return {"deep_linear": experiments}


def sizes(class_sizes):
    return {"samples_per_class": None, "class_sizes": class_sizes}


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_expands_to_runs(scale):
    atlas = load(scale=scale)
    for name in atlas.studies["deep_linear"]:
        ids = [run.id for run in atlas.runs("deep_linear", name)]
        assert ids and len(set(ids)) == len(ids)
        assert not any("," in each or "/" in each for each in ids)


def test_run_id_and_columns():
    atlas = load(scale="paper")
    run = atlas.runs("deep_linear", "direct_optimisation")[-1]
    assert run.id == "depth=9+bias=true+seed=9"
    assert run.keys == {"depth": 9, "bias": True, "seed": 9}
    assert run.config.problem.depth == 9


def test_a_smaller_set_keeps_samples_times_feature_decay():
    paper = load(scale="paper").studies["deep_linear"]["network_mlp"]
    for scale, samples in {"laptop": 2000, "reference": 50_000}.items():
        here = load(scale=scale).studies["deep_linear"]["network_mlp"]
        assert 10 * here.data.samples_per_class == samples
        assert samples * here.feature_decay == pytest.approx(50_000 * paper.feature_decay)


def test_overrides_merge_mappings_and_replace_lists_and_grids():
    atlas = load(
        study(
            direct_optimisation={
                "problem": {"class_sizes": [3, 4]},
                "grid": {"problem.depth": [2]},
            }
        )
    )
    experiment = atlas.studies["deep_linear"]["direct_optimisation"]
    assert experiment.problem.class_sizes == [3, 4]
    assert experiment.problem.widths == 8
    assert experiment.grid == {"problem.depth": [2]}


def test_a_section_of_another_kind_replaces_the_old_one():
    atlas = load(study(network_mlp={"model": {"kind": "cnn", "channels": [4]}}))
    assert atlas.studies["deep_linear"]["network_mlp"].model.channels == [4]


def test_new_experiments_may_be_added():
    block = yaml.safe_load(
        """
        problem: {kind: deep_linear, class_sizes: [4, 4], widths: 3}
        optimiser: {kind: sgd, learning_rate: 1e-1, steps: 5}
        weight_decay: 1e-3
        feature_decay: 0.001
        grid: {weight_decay: [1e-3, 0.5], problem.depth: [1, 2]}
        seeds: 2
        """
    )
    atlas = load(study(mine=block))
    assert len(atlas.runs("deep_linear", "mine")) == 8
    groups = atlas.groups("deep_linear", "mine")
    assert list(groups) == ["depth=1", "depth=2"]
    assert groups["depth=2"].spec["grid"] == {"weight_decay": [0.001, 0.5]}


@pytest.mark.parametrize(
    ("changes", "folders"),
    [
        ({}, ["depth=3+bias=false+seed=0"]),
        ({"seeds": 3}, ["depth=3+bias=false+seeds=0-2"]),
        (
            {"seeds": 2, "grid": {"weight_decay": [1e-3, 1e-2], "head.depth": [1, 2]}},
            ["depth=1+seeds=0-1", "depth=2+seeds=0-1"],
        ),
        ({"grid": {"feature_decay": [1e-3, 1e-2]}}, ["seed=0"]),
        ({"seeds": 2, "grid": {"feature_decay": [1e-3, 1e-2]}}, ["seeds=0-1"]),
        (
            {"seeds": 2, "model": {"kind": "cnn", "channels": [4]}},
            ["depth=3+bias=false+seed=0", "depth=3+bias=false+seed=1"],
        ),
    ],
)
def test_mlps_of_one_shape_share_a_job_and_other_networks_do_not(changes, folders):
    atlas = load(study(network_mlp=changes), scale="smoke")
    groups = atlas.groups("deep_linear", "network_mlp")
    assert list(groups) == folders
    told = [each for group in groups.values() for each in grid.expand(group.spec)]
    runs = atlas.runs("deep_linear", "network_mlp")
    by_id = {run.id: run for run in runs}
    assert len(told) == len(runs) and {each["id"] for each in told} == set(by_id)
    for each in told:
        run = by_id[each["id"]]
        assert (each["keys"], each["seed"]) == (run.keys, run.seed)
        assert each["config"] == config.plain(run.config)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (study(network_mlp={"traning": {}}), ["network_mlp.traning", "did you mean 'training'"]),
        (study(network_mlp={"training": {"epoch": 3}}), ["training.epoch", "'epochs'"]),
        (study(network_mlp={"weight_decay": -1}), ["network_mlp.weight_decay", "-1"]),
        (study(network_mlp={"weight_decay": "x"}), ["network_mlp.weight_decay", "'x'"]),
        (
            study(network_mlp={"data": {"class_sizes": [3, 2]}}),
            ["network_mlp.data", "class_sizes and samples_per_class are both", "other to null"],
        ),
        (
            study(network_mlp={"data": {"class_sizes": [3, 2.5], "samples_per_class": None}}),
            ["network_mlp.data.class_sizes", "2.5"],
        ),
        (study(network_mlp={"data": {"imbalance_ratio": 0.5}}), ["data.imbalance_ratio", "0.5"]),
        (
            study(network_mlp={"data": {"imbalance_ratio": 20.5}}),
            ["data.imbalance_ratio: 20.5 found", "samples_per_class, 20"],
        ),
        (
            study(network_mlp={"grid": {"data.imbalance_ratio": [1, 20, 21]}}),
            ["grid.data.imbalance_ratio: 21 found", "samples_per_class, 20"],
        ),
        (study(network_mlp={"data": sizes([])}), ["data.class_sizes", "at least 2", "[]"]),
        (study(network_mlp={"data": sizes([5])}), ["data.class_sizes", "at least 2", "[5]"]),
        (study(network_mlp={"data": sizes("many")}), ["data.class_sizes", "list", "'many'"]),
        (study(network_mlp={"data": sizes([5, 0])}), ["data.class_sizes.1", "1, found 0"]),
        (study(network_mlp={"data": sizes([5, -2])}), ["data.class_sizes.1", "1, found -2"]),
        (study(network_mlp={"data": sizes([True, 2])}), ["data.class_sizes.0", "boolean"]),
        (
            study(network_mlp={"data": sizes([5, 2])}),
            ["network_mlp.data.class_sizes", "2 sizes found, digits has 10 classes"],
        ),
        (
            study(
                network_mlp={"data": sizes(None), "grid": {"data.class_sizes": [[9] * 10, [5, 2]]}}
            ),
            ["network_mlp.grid.data.class_sizes", "2 sizes found, digits has 10 classes"],
        ),
        (
            study(
                network_mlp={"data": {"name": "shuttle"}, "training": {"augmentation": ["crop"]}}
            ),
            ["training.augmentation: ['crop'] found", "allowed is []: shuttle is a table"],
        ),
        (
            study(
                network_mlp={
                    "data": {"name": "shuttle"},
                    "grid": {"training.augmentation": [[], ["crop", "flip"]]},
                }
            ),
            ["grid.training.augmentation: ['crop', 'flip'] found", "shuttle is a table"],
        ),
        (study(network_mlp={"weight_decay": float("nan")}), ["network_mlp.weight_decay"]),
        (study(network_mlp={"feature_decay": True}), ["network_mlp.feature_decay", "boolean"]),
        (study(network_mlp={"grid": {"head.depth": []}}), ["grid.head.depth", "at least one"]),
        (study(network_mlp={"grid": {"head.dept": [1]}}), ["grid.head.dept", "unknown key"]),
        (study(network_mlp={"grid": {"head.depth": [1, 1]}}), ["grid.head.depth", "twice"]),
        (study(network_mlp={"grid": {"problem.depth": [1]}}), ["grid.problem.depth"]),
        (study(network_mlp={"grid": {"data.name": ["digits", "mnist"]}}), ["grid.data.name"]),
        (
            study(network_mlp={"grid": {"training.schedule.step": [5, 9]}}),
            ["grid.training.schedule.step", "two columns", "'step'"],
        ),
        (
            study(network_mlp={"grid": {"model": [{"kind": "mlp", "hidden": [4]}]}}),
            ["grid.model", "not sections"],
        ),
        (
            study(network_mlp={"grid": {"weight_decay": [1e-3, [1e-3]]}}),
            ["grid.weight_decay", "either lists or single values"],
        ),
        (study(network_mlp={"grid": {1: [2]}}), ["network_mlp.grid.1", "text, found 1"]),
        (study(network_mlp={"seeds": 0}), ["network_mlp.seeds", "0"]),
        (study(network_mpl={"seeds": 1}), ["network_mpl", "did you mean 'network_mlp'"]),
        (study(network_mlp=3), ["network_mlp", "mapping"]),
        (study(network_mlp={"data": {"name": "cifar11"}}), ["data.name", "cifar10"]),
        (study(network_mlp={"model": {"kind": "vgg"}}), ["model", "vgg", "mlp"]),
        (study(direct_optimisation={"grid": {"problem.depth": [1, -3]}}), ["depth", "-3"]),
        (study(direct_optimisation={"optimiser": {"stepz": 4}}), ["optimiser.stepz", "'steps'"]),
        (
            study(network_mlp={"weight_decay": [1, 2]}),
            ["network_mlp.weight_decay: 2 values found", "one per layer (depth 3)"],
        ),
        (
            study(network_mlp={"weight_decay": [1, 2], "grid": {"head.depth": [2, 4]}}),
            ["network_mlp.weight_decay: 2 values found", "one per layer (depth 4)"],
        ),
        (
            study(network_mlp={"weight_decay": [1, -2], "grid": {"head.depth": [2]}}),
            ["network_mlp.weight_decay.1", "found -2"],
        ),
        (
            study(direct_optimisation={"weight_decay": [1, 2]}),
            ["direct_optimisation.weight_decay: 2 values found", "one per layer (depth 3)"],
        ),
        (
            study(direct_optimisation={"grid": {"weight_decay": [[1, 2, 3]]}}),
            ["direct_optimisation.grid.weight_decay: 3 values found", "(depth 1)"],
        ),
        (
            study(direct_optimisation={"problem": {"widths": [9, 9]}}),
            ["direct_optimisation.problem.widths: 2 values found", "(depth 3)"],
        ),
        (study(direct_optimisation={"grid": {"weight_decay": [-1]}}), ["grid.weight_decay", "-1"]),
        (study(collapse_threshold={"weight_decay": 0}), ["collapse_threshold", "sweep", "be 0"]),
        (study(collapse_threshold={"feature_decay": 0}), ["collapse_threshold", "sweep", "be 0"]),
        (study(direct_optimisation={"problem": {"class_sizes": [5]}}), ["class_sizes"]),
        (
            study(direct_optimisation={"grid": {"problem.kind": ["x"], "optimiser.kind": ["x"]}}),
            ["grid.problem.kind", "two columns", "'kind'"],
        ),
        ({"deep_liner": {}}, ["deep_liner", "did you mean 'deep_linear'"]),
        ({"scale": "huge"}, ["huge", "laptop"]),
        ({"datasets": {"mnist": {"sources": ["ftp"]}}}, ["datasets.mnist.sources", "ftp"]),
        ({"datasets": {"minst": {"sources": ["package"]}}}, ["datasets.minst", "'mnist'"]),
        ({"datasets": ["mnist"]}, ["datasets", "mapping"]),
        ({1: {}}, ["my.yaml: 1: a key should be text"]),
    ],
)
def test_bad_config_is_one_line_that_names_the_key(user, words):
    message = refusal(user)
    assert all(word in message for word in words), message


def test_errors_name_the_file_that_sets_the_key():
    assert refusal(study(network_mlp={"seeds": 0})).startswith("my.yaml: ")
    # The sizes are the study's, what no longer fits them is the user's.
    network = {"imbalanced": {"network_mlp": {"data": {"samples_per_class": 20}}}}
    with pytest.raises(InputError, match=r"my.yaml: imbalanced.network_mlp.data: class_sizes and"):
        load(network, scale="paper")


def test_a_class_size_of_the_study_is_taken_back_by_null():
    network = {"data": {"name": "shuttle", "class_sizes": None, "samples_per_class": 5}}
    atlas = load({"imbalanced": {"network_mlp": network}}, scale="paper")
    assert atlas.studies["imbalanced"]["network_mlp"].data.samples_per_class == 5


@pytest.mark.parametrize(
    "path, values", [("loss", ["mse", "ce"]), ("training.learning_rate", [1, 2])]
)
def test_what_the_history_also_tells_may_be_varied(path, values):
    atlas = load(study(network_mlp={"grid": {path: values}}))
    name = path.rsplit(".", 1)[-1]
    assert [run.keys[name] for run in atlas.runs("deep_linear", "network_mlp")] == values


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1\nb: 2", "expected"), ("a:\n  b: 1\n  c: 2\n  b: 3", "'b' given twice")],
)
def test_file_that_is_no_yaml(tmp_path, text, words):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"broken.yaml: not valid YAML \(.*{words}"):
        config.read_yaml(path)


def test_a_yaml_mapping_overrides_keys_that_it_merges(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")
    assert config.read_yaml(path)["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_000_000, "1000000"),
        (True, "true"),
        (5e-4, "0.0005"),
        (1e-12, "1e-12"),
        ([1, 2.5], "1-2.5"),
        ("mse", "mse"),
    ],
)
def test_values_are_spelt_for_ids(value, text):
    assert grid.format_value(value) == text


DESCENT = {"kind": "sgd", "learning_rate": 0.1, "steps": 5}
PROBLEM = {
    "problem": {"kind": "deep_linear", "class_sizes": [4, 4], "widths": 3},
    "optimiser": DESCENT,
    "weight_decay": 1e-3,
    "feature_decay": 1e-3,
    "seeds": 2,
}


def reading(**of):
    start = {"kind": "states", "of": {"study": "deep_linear", "experiment": "first", **of}}
    return {**PROBLEM, "start": start}


def test_seeds_begin_at_the_first_seed():
    atlas = load({"first_seed": 1000, "deep_linear": {"mine": PROBLEM}})
    assert [run.seed for run in atlas.runs("deep_linear", "mine")] == [1000, 1001]
    assert atlas.groups("deep_linear", "mine")["all"].spec["seeds"] == [1000, 1001]
    folders = list(atlas.groups("deep_linear", "network_mlp"))
    assert folders == ["depth=3+bias=false+seed=1000"]


def test_a_run_reads_the_run_of_its_own_seed():
    first = {**PROBLEM, "grid": {"problem.depth": [1, 2], "weight_decay": [1e-3, 1e-2]}}
    second = reading(run={"depth": 2, "weight_decay": 0.01})
    atlas = load(study(first=first, second=second))
    found = [atlas.reads(run)["start.of"] for run in atlas.runs("deep_linear", "second")]
    assert [each.run for each in found] == [
        f"depth=2+weight_decay=0.01+seed={seed}" for seed in (0, 1)
    ]
    assert {each.group for each in found} == {"depth=2"}
    job = jobs.compute(atlas, "deep_linear", "second", "all")
    assert job.files("references") == ["deep_linear/first/depth=2/states.safetensors"]
    assert job.told["references"]["seed=1"] == {"start.of": [0, found[1].run]}


def test_a_references_seed_counts_from_the_first_seed():
    user = {"first": PROBLEM, "second": reading(seed=1)}
    atlas = load({"first_seed": 1000, "deep_linear": user})
    found = [atlas.reads(run)["start.of"].run for run in atlas.runs("deep_linear", "second")]
    assert found == ["seed=1001", "seed=1001"]


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (
            study(mine={**PROBLEM, "grid": {"probes": [[], ["residuals"]]}}),
            ["grid.probes", "not a"],
        ),
        (study(first=PROBLEM, second=reading(seed=7)), ["second.start.of: no run of", "seed=7"]),
        (
            study(first={**PROBLEM, "grid": {"problem.depth": [1, 2]}}, second=reading()),
            ["second.start.of: 2 runs of deep_linear.first with seed=0", "its keys: depth, seed"],
        ),
        (
            study(first=PROBLEM, second=reading(read="features")),
            ["second.start.of: problem experiments write no features"],
        ),
        (study(second=reading()), ["second.start.of: no experiment of deep_linear 'first'"]),
        (
            study(first=PROBLEM, second=reading(studyy="x")),
            ["second.start.of.studyy: unknown key, did you mean 'study'"],
        ),
        (
            study(
                first={**reading(experiment="second"), "seeds": 1}, second={**reading(), "seeds": 1}
            ),
            ["read each other in a circle", "deep_linear.first reads deep_linear.second reads"],
        ),
        (
            study(mine={**PROBLEM, "optimiser": [DESCENT, {"kind": "lbfgs", "stepss": 3}]}),
            ["mine.optimiser.1.stepss: unknown key, did you mean 'steps'"],
        ),
        (
            study(mine={**PROBLEM, "optimiser": [DESCENT, {"kind": "newton", "steps": 3}]}),
            ["mine.optimiser", "newton", "lbfgs"],
        ),
        (study(mine={**PROBLEM, "procedure": "problm"}), ["mine.procedure", "did you mean 'prob"]),
        (study(mine={**PROBLEM, "probes": ["x"]}), ["mine.probes", "x", "classifier"]),
        (
            study(mine={key: PROBLEM[key] for key in PROBLEM if key != "weight_decay"}),
            ["mine.weight_decay: is missing"],
        ),
        (
            study(mine={key: PROBLEM[key] for key in PROBLEM if key != "feature_decay"}),
            ["mine.feature_decay: is missing"],
        ),
        ({"first_seed": -1}, ["first_seed", "-1"]),
        ({"results": ""}, ["results", "at least 1"]),
        ({"result": "x"}, ["result", "did you mean 'results'"]),
    ],
)
def test_bad_references_procedures_and_settings_are_one_line(user, words):
    message = refusal(user)
    assert all(word in message for word in words), message


@pytest.fixture
def folder(tmp_path):
    """A copy of the config's folder."""
    return Path(shutil.copytree("config", tmp_path / "config"))


@pytest.mark.parametrize("name", ["data", "figures", "claims", "logs", "policies", "solve"])
def test_reserved_names_are_no_studys(folder, name):
    (folder / f"studies/{name}.yaml").write_text(f"{name}: {{mine: {{}}}}")
    (folder / f"scales/smoke/{name}.yaml").write_text("")
    with pytest.raises(InputError, match=f"{name}: is no name for a study"):
        config.load(folder, {"scale": "smoke"})


def test_a_study_says_what_each_scale_reduces_of_it(folder):
    (folder / "studies/mine.yaml").write_text("mine: {}")
    for scale in ("smoke", "laptop", "reference"):
        with pytest.raises(InputError, match=rf"scales/{scale}/mine.yaml: no such file: say there"):
            config.load(folder, {"scale": scale})
    assert config.load(folder, {"scale": "paper"}).studies["mine"] == {}
    (folder / "scales/smoke/mine.yaml").write_text("mine: {}")
    assert config.load(folder, {"scale": "smoke"}).studies["mine"] == {}


def test_a_folder_of_results_belongs_to_one_scale(tmp_path):
    here = {"results": str(tmp_path / "here")}
    config.mark_results(load(here))
    config.check_results(load(here))
    for user, scale in ((here, "laptop"), (here | {"first_seed": 3}, "smoke")):
        with pytest.raises(InputError, match="holds results of scale smoke, not of scale"):
            config.check_results(load(user, scale=scale))
    config.check_results(load({"results": str(tmp_path / "there")}, scale="laptop"))


def test_a_long_value_is_cut_in_ids_and_whole_in_tables():
    sizes = [[4] * 40, [4] * 39 + [5]]
    atlas = load(study(mine={**PROBLEM, "grid": {"problem.class_sizes": sizes}}))
    runs = atlas.runs("deep_linear", "mine")
    assert len({run.id for run in runs}) == 4 and max(len(run.id) for run in runs) < 100
    assert {run.keys["class_sizes"] for run in runs} == {"-".join(map(str, each)) for each in sizes}


def test_a_probe_measures_once_however_often_it_is_named():
    probes = ["classifier", "classifier"]
    atlas = load(study(network_mlp={"probes": probes}))
    (group,) = atlas.groups("deep_linear", "network_mlp")
    told = jobs.measure_group(atlas, "deep_linear", "network_mlp", group).told
    assert told["probes"] == [{"kind": "classifier"}]


@pytest.mark.parametrize("asked", [[200, 100, 50], "200-100-50"])
def test_a_run_is_found_by_a_list_as_its_column_has_it(asked):
    first = {**PROBLEM, "grid": {"problem.class_sizes": [[200, 100, 50], [4, 4, 4]]}}
    atlas = load(study(first=first, second=reading(run={"class_sizes": asked})))
    found = atlas.reads(atlas.runs("deep_linear", "second")[0])["start.of"]
    assert found.run == "class_sizes=200-100-50+seed=0"


def test_the_folder_of_results_is_one_however_it_is_spelt(tmp_path):
    assert load({"results": "./trial/"}).results == "trial"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, allowed is a folder"):
        config.check_results(load({"results": str(tmp_path / "file")}))
