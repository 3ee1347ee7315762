"""The config: scales, overrides, runs and groups."""

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from collapse import config, grid, jobs
from collapse.errors import InputError
from conftest import PROBLEM, reading, study_deep_linear

SCALES = ("smoke", "laptop", "reference", "paper")


def load(user=None, scale="smoke"):
    return config.load("config", {"scale": scale} | (user or {}), "my.yaml")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_expands_to_runs(scale):
    atlas = load(scale=scale)
    for name in atlas.studies["deep_linear"]:
        ids = [run.id for run in atlas.runs("deep_linear", name)]
        assert ids and len(set(ids)) == len(ids)
        assert not any("," in each or "/" in each for each in ids)


def test_a_run_is_named_by_its_columns():
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
        study_deep_linear(
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
    atlas = load(study_deep_linear(network_mlp={"model": {"kind": "cnn", "channels": [4]}}))
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
    atlas = load(study_deep_linear(mine=block))
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
        (
            {
                "seeds": 2,
                "side_by_side": "experiment",
                "grid": {"head.depth": [1, 2], "training.epochs": [1, 2], "model.hidden": [[4]]},
            },
            ["epochs=1+seeds=0-1", "epochs=2+seeds=0-1"],
        ),
        (
            {"model": {"kind": "resnet18"}, "side_by_side": "experiment", "seeds": 2},
            ["seeds=0-1"],
        ),
    ],
)
def test_networks_that_train_side_by_side_share_a_job(changes, folders):
    atlas = load(study_deep_linear(network_mlp=changes), scale="smoke")
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


def test_an_unknown_scale_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"'huge'.*laptop"):
        load(scale="huge")


def test_errors_name_the_file_that_sets_the_key():
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
    atlas = load(study_deep_linear(network_mlp={"grid": {path: values}}))
    name = path.rsplit(".", 1)[-1]
    assert [run.keys[name] for run in atlas.runs("deep_linear", "network_mlp")] == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2", "expected"),
        ("? [a]\n: 1", "no word"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "'b' given twice"),
        ("a: {<<: {b: 1, b: 2}}", "'b' given twice"),
        ("a: 2001-13-40", "month"),
        ("a: !!int many", "invalid literal"),
        ("a: &a {b: [*a]}", "recursive"),
        ("a: " + "[" * 5_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused(tmp_path, text, words):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"broken.yaml: not valid YAML \(.*{words}"):
        config.read_yaml(path)


@pytest.mark.parametrize(
    ("entries", "twice"),
    [
        (["deep_linear={frames: {seeds: 1, seeds: 2}}"], "deep_linear: key 'seeds' given twice"),
        (["a=[{b: 1, b: 2}]"], "a: key 'b' given twice"),
        (["scale=smoke", "scale=smoke"], "key 'scale' given twice"),
        (["a={b: {c: 1}}", "d=1", "a={b: {c: 2}}"], "key 'a.b.c' given twice"),
        (["a={b: {c: 1}}", "a={b: 2}"], "key 'a.b' given twice"),
        (["a={b: 2}", "a={b: {c: 1}}"], "key 'a.b.c' given twice"),
    ],
)
def test_a_setting_given_twice_is_refused(entries, twice):
    with pytest.raises(InputError, match=f"^--config: {twice}$"):
        config.check_settings(entries)


def test_settings_of_one_section_are_merged():
    config.check_settings(["a={b: {c: 1}}", "a={b: {d: 1}}", "a={e: [1, 1]}", "f={", "g=", "h=a=b"])
    config.check_settings(["a={}", "a={b: 1}", "a={b: {}}"])


def test_a_yaml_mapping_overrides_keys_that_it_merges(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: *b, z: 4}")
    assert config.read_yaml(path)["b"] == {"x": 1, "y": 3}
    assert config.read_yaml(path)["c"] == {"x": 1, "y": 3, "z": 4}


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(InputError, match="directory"):
        config.read_yaml(tmp_path)


def test_ten_thousand_decays_are_one_job():
    decays = [1e-4 * (1 + number / 1e4) for number in range(5_000)]
    many = {**PROBLEM, "grid": {"weight_decay": decays}, "seeds": 2}
    refused = {"deep_linear": {"mine": many}, "largest": 9_999}
    with pytest.raises(InputError, match=r"--config largest=\d+"):
        load(refused)
    atlas = load(refused | {"largest": 20_000})
    (group,) = atlas.groups("deep_linear", "mine").values()
    assert len(group.runs) == 10_000 and group.spec["grid"] == {"weight_decay": decays}
    assert {run.config.weight_decay for run in group.runs} == set(decays)


def test_seeds_begin_at_the_first_seed():
    atlas = load({"first_seed": 1000, "deep_linear": {"mine": PROBLEM}})
    assert [run.seed for run in atlas.runs("deep_linear", "mine")] == [1000, 1001]
    assert atlas.groups("deep_linear", "mine")["all"].spec["seeds"] == [1000, 1001]
    folders = list(atlas.groups("deep_linear", "network_mlp"))
    assert folders == ["depth=3+bias=false+seed=1000"]


def test_a_run_reads_the_run_of_its_own_seed():
    first = {**PROBLEM, "grid": {"problem.depth": [1, 2], "weight_decay": [1e-3, 1e-2]}}
    second = reading(run={"depth": 2, "weight_decay": 0.01})
    atlas = load(study_deep_linear(first=first, second=second))
    found = [atlas.reads(run)["start.of"] for run in atlas.runs("deep_linear", "second")]
    assert [each.run for each in found] == [
        f"depth=2+weight_decay=0.01+seed={seed}" for seed in (0, 1)
    ]
    assert {each.group for each in found} == {"depth=2"}
    job = jobs.compute(atlas, "deep_linear", "second", "all")
    assert job.files("references") == ["deep_linear/first/depth=2/states.safetensors"]
    assert job.told["references"]["seed=1"] == {"start.of": [0, found[1].run]}


def test_an_experiment_may_begin_at_another_seed_than_the_rest():
    first, second = PROBLEM | {"first_seed": 5}, reading() | {"first_seed": 2}
    atlas = load({"first_seed": 1000, "deep_linear": {"first": first, "second": second}})
    runs = atlas.runs("deep_linear", "second")
    assert [run.seed for run in runs] == [1002, 1003]
    # The first reads the first, whatever their seeds are called.
    assert [atlas.reads(run)["start.of"].run for run in runs] == ["seed=1005", "seed=1006"]
    assert "first_seed" not in jobs.compute(atlas, "deep_linear", "first", "all").told["config"]


def test_a_references_seed_counts_from_the_first_seed():
    user = {"first": PROBLEM, "second": reading(seed=1)}
    atlas = load({"first_seed": 1000, "deep_linear": user})
    found = [atlas.reads(run)["start.of"].run for run in atlas.runs("deep_linear", "second")]
    assert found == ["seed=1001", "seed=1001"]


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


@pytest.mark.parametrize("content", [b"", b"reference\n", b"\xff\xfe\x00", b"scale smoke\nscale"])
def test_a_damaged_mark_of_the_results_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "scale.txt").write_bytes(content)
    with pytest.raises(InputError) as error:
        config.check_results(load({"results": str(tmp_path)}))
    line = f"{tmp_path}/scale.txt: damaged, allowed is a line such as `scale "
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["figures", "figures/deep_linear", "deep_linear/frames", "data", "logs/deep_linear"]
    + ["mixup/free_descent/all", "logs/mixup/free_descent/all"],
)
def test_a_file_in_place_of_a_folder_of_the_results_is_refused(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    config.check_results(load({"results": str(tmp_path)}))
    (tmp_path / name).rmdir()
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{name}: a file where the results have a folder"):
        config.check_results(load({"results": str(tmp_path)}))


def test_a_folder_in_place_of_the_mark_of_the_results_is_refused(tmp_path):
    (tmp_path / "scale.txt").mkdir()
    with pytest.raises(InputError, match="scale.txt: a folder in place of a file"):
        config.check_results(load({"results": str(tmp_path)}))


def test_a_long_value_is_cut_in_ids_and_whole_in_tables():
    sizes = [[4] * 40, [4] * 39 + [5]]
    atlas = load(study_deep_linear(mine={**PROBLEM, "grid": {"problem.class_sizes": sizes}}))
    runs = atlas.runs("deep_linear", "mine")
    assert len({run.id for run in runs}) == 4 and max(len(run.id) for run in runs) < 100
    assert all("4-4-4" in run.id for run in runs)
    assert {run.keys["class_sizes"] for run in runs} == {"-".join(map(str, each)) for each in sizes}


@pytest.mark.parametrize("name", ["my-exp", "v1.2", "mühe", "mu\u0308he", "實驗", "हिन्दी", "_1"])
def test_names_of_any_script_are_those_of_experiments_and_data_sets(name, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("x,y\n1,2\n")
    user = study_deep_linear(**{name: PROBLEM})
    atlas = load(user | {"datasets": {name: {"table": str(table), "targets": ["y"]}}})
    assert atlas.runs("deep_linear", name) and name in atlas.data_sets


def test_whole_numbers_are_read_as_real_ones_are():
    problem = PROBLEM["problem"] | {"class_sizes": ["1e2", 1e2], "depth": "2E0"}
    mine = PROBLEM | {"problem": problem, "seeds": "1e1", "grid": {"problem.widths": ["1e1", 2]}}
    atlas = load(study_deep_linear(mine=mine) | {"first_seed": "1e3"})
    runs = atlas.runs("deep_linear", "mine")
    assert [run.seed for run in runs] == [*range(1000, 1010)] * 2
    assert {run.keys["widths"] for run in runs} == {10, 2}
    assert (runs[0].config.problem.class_sizes, runs[0].config.problem.depth) == ([100, 100], 2)


def test_files_and_folders_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    sets = {"mine": {"table": "~/a.csv", "targets": ["y"]}, "mnist": {"directory": "~/data"}}
    atlas = load({"datasets": sets, "results": "~/results"})
    assert atlas.results == str(tmp_path / "results")
    assert atlas.sources["mine"].table == str(tmp_path / "a.csv")
    assert atlas.sources["mnist"].directory == str(tmp_path / "data")


def test_a_probe_measures_once_however_often_it_is_named():
    probes = ["classifier", "classifier"]
    atlas = load(study_deep_linear(network_mlp={"probes": probes}))
    (group,) = atlas.groups("deep_linear", "network_mlp")
    told = jobs.measure_group(atlas, "deep_linear", "network_mlp", group).told
    assert told["probes"] == [{"kind": "classifier"}]


def test_the_folder_of_results_is_one_however_it_is_spelt(tmp_path):
    assert load({"results": "./trial/"}).results == "trial"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, allowed is a folder"):
        config.check_results(load({"results": str(tmp_path / "file")}))


@pytest.mark.parametrize(
    ("decay", "sizes"), [("1e-2", "200-100-50"), (0.01, [200, 100, 50])], ids=["text", "values"]
)
def test_a_run_is_found_by_its_keys_as_yaml_or_a_table_spells_them(decay, sizes):
    grid_of = {"weight_decay": [4e-3, 1e-2], "problem.class_sizes": [[200, 100, 50], [4, 4, 4]]}
    second = reading(run={"weight_decay": decay, "class_sizes": sizes})
    atlas = load(study_deep_linear(first={**PROBLEM, "grid": grid_of}, second=second))
    place = atlas.reads(atlas.runs("deep_linear", "second")[0])["start.of"]
    assert place.group == "class_sizes=200-100-50"
    assert place.run == "weight_decay=0.01+class_sizes=200-100-50+seed=0"


# The command line that Snakemake is given, before it reads it.


def bomb(leaf, around):
    """Return nine lines, each of the one before it nine times over."""
    lines = [f"a0: &a0 {leaf}"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} " + around.format(", ".join([f"*a{i - 1}"] * 9)))
    return "\n".join(lines).encode()


def started(monkeypatch, *arguments):
    """Start Snakemake's plugins with a command line."""
    monkeypatch.setattr(sys, "argv", ["snakemake", *map(str, arguments)])
    monkeypatch.delitem(sys.modules, "snakemake_logger_plugin_configfiles", raising=False)
    return import_module("snakemake_logger_plugin_configfiles")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# caf\xe9\nscale: smoke", "not in UTF-8 (byte 6)"),
        ("scale: smoke".encode("utf-16"), "not in UTF-8 (byte 1)"),
        (b"a: !!bool many", "not valid YAML"),
        (b"a: !!int ''", "not valid YAML"),
        (b"a: !!timestamp many", "not valid YAML"),
        (b'{"a": 1, "a": 2}', "key 'a' given twice"),
        (b"__use_yte__: true", "no template"),
        (b"a: 2026-13-45", "month"),
        (b"a: " + b"9" * 5_000, "more than 4,000 digits"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "more than 4,000 digits"),
        (b"a: &a {b: [*a]}", "recursive"),
        (b"a: " + b"[" * 5_000, "nested too deeply"),
        (b"- a", "should be a mapping, found list"),
        (b"# nothing yet", "should be a mapping, found nothing"),
        (b"a:\n\tb: 1", "at line 2"),
        (bomb("[x, x]", "[{}]"), "values with aliases"),
        (bomb("[]", "[{}]"), "values with aliases"),
        (bomb("{x: 1}", "{{<<: [{}]}}"), "values with aliases"),
        (None, "no such file"),
    ],
)
def test_a_config_file_that_snakemake_cannot_read_is_one_line(
    tmp_path, monkeypatch, capsys, content, words
):
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        started(monkeypatch, "-n", "--configfile", path, "--", "target")
    line = capsys.readouterr().err
    assert line.startswith(f"collapse: error: {path}: ") and words in line and line.count("\n") == 1


def test_a_pipe_which_can_be_read_once_is_no_config_file(tmp_path, monkeypatch, capsys):
    os.mkfifo(tmp_path / "my.yaml")
    with pytest.raises(SystemExit, match="2"):
        started(monkeypatch, f"--configfile={tmp_path / 'my.yaml'}")
    assert "my.yaml: a pipe" in capsys.readouterr().err


def test_a_command_line_that_can_be_read_is_left_to_snakemake(tmp_path, monkeypatch):
    (tmp_path / "my.yaml").write_text("scale: smoke")
    settings = ["--config", "scale=smoke", "aa={b: 1}", "--cores", "2"]
    assert started(
        monkeypatch, *settings, "--configfile", tmp_path / "my.yaml", "--", "a"
    ).LogHandler
    # What lacks its value Snakemake says itself; and it may be asked for help.
    assert started(monkeypatch, "target", "--configfile").LogHandler
    assert started(monkeypatch, "--configfile", "nowhere.yaml", "--help").LogHandler


def test_a_config_file_may_be_json_indented_by_tabs(tmp_path):
    path = tmp_path / "my.json"
    path.write_text('{\n\t"scale": "smoke",\n\t"deep_linear": {"frames": {"seeds": 2}}\n}')
    assert config.read_yaml(path) == {"scale": "smoke", "deep_linear": {"frames": {"seeds": 2}}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "target"], "--config: target: should be KEY=VALUE"),
        (["-C", "=x"], "--config: =x: a key is a word"),
        (["--config", "a=1"], "--config: a=1: a key is a word"),
        (["--config", "scale=a", "--config", "scale=b"], "--config: given twice"),
        (["--configfile", "a", "--configfile", "b"], "--configfile: given twice"),
        (["--config", "scale=a", "scale=b"], "key 'scale' given twice"),
        (["--config", "aa={" + bomb("{k: 1}", "{{x: [{}]}}").decode().replace("\n", ", ") + "}"],
         "values with aliases"),
    ],
)  # fmt: skip
def test_settings_that_snakemake_cannot_read_are_one_line(monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit, match="2"):
        started(monkeypatch, "-n", *arguments)
    line = capsys.readouterr().err
    assert line.startswith("collapse: error: ") and words in line and line.count("\n") == 1
