"""The workflow as its users meet it: what it makes, what it reruns, and how it refuses."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from matplotlib.image import imread
from matplotlib.text import Text

from collapse import jobs, specs, studies
from collapse.artifacts import digests_path, read_csv, read_table, stored_digest, write_digests
from collapse.config import load
from collapse.plotting import paper_style
from collapse.stages.figure import say_what_diverged
from collapse.studies.verdicts import VERDICTS
from collapse.theory import deep_linear
from conftest import Checkout

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
STUDIES = (
    "deep_linear", "deep_rfm", "dufm_lowrank", "imbalanced", "linguistic", "mixup", "perturbation",
    "posterior_collapse", "regression",
)  # fmt: skip
SMOKE = load("config", {"scale": "smoke"})
FIGURES = [(study, name) for study in STUDIES for name in jobs.drawn(SMOKE, study)]


def edit(path, text="\nEDITED = True\n"):
    """Append to a file; return what it held."""
    before = path.read_text()
    path.write_text(before + text)
    return before


def replan(finished, path, text="\nEDITED = True\n", *arguments):
    """Return what would rerun after an edit, and undo the edit."""
    file = finished.folder / "workflow" / "collapse" / path
    before = edit(file, text)
    try:
        return finished.planned(*arguments)
    finally:
        file.write_text(before)


@pytest.mark.parametrize(("study", "name"), FIGURES)
def test_every_declared_figure_is_there_and_shows_something(finished, study, name):
    stem = finished.folder / "results/figures" / study / name
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    image = imread(stem.with_suffix(".png"))[..., :3]
    assert image.shape[1] >= 600
    assert (image.min(axis=2) < 0.9).mean() > 0.005, "the figure is blank"
    drawn = pd.read_csv(stem.with_suffix(".csv"))
    assert len(drawn) and np.isfinite(drawn.select_dtypes("number")).any().any()


def test_a_figure_draws_the_numbers_of_its_table(finished):
    results = finished.folder / "results"
    drawn = pd.read_csv(results / "figures/deep_linear/direct_optimisation.csv")
    table = read_table(results / "deep_linear/direct_optimisation/metrics.parquet")
    for head, bias, metric in (("bias-free", False, "NC1"), ("last-layer bias", True, "NC2_ETF")):
        rows = drawn[(drawn["head"] == head) & (drawn["metric"] == metric)]
        values = table[
            (table["metric"] == metric) & (table["layer"] == "H1") & (table["bias"] == bias)
        ]
        expected = values[values["step"] > 0].groupby(["depth", "step"])["value"].median()
        found = rows.set_index(["depth", "step"])["median"]
        pd.testing.assert_series_equal(
            found.sort_index(), expected.sort_index(), check_names=False, check_dtype=False
        )


@pytest.mark.parametrize("study", STUDIES)
def test_tables_hold_a_row_per_run_step_layer_and_metric(finished, study):
    atlas = load("config", {"scale": "smoke"})
    for name in atlas.studies[study]:
        metrics, predictions, samples = (
            read_table(finished.folder / "results" / path)
            for path, _ in jobs.tables(atlas, study, [name])
        )
        keys = list(atlas.runs(study, name)[0].keys)
        assert list(samples.columns)[: len(keys) + 3] == [*keys, "step", "layer", "probe"]
        assert list(metrics.columns) == [*keys, "step", "layer", "metric", "value"]
        assert not metrics.duplicated([*keys, "step", "layer", "metric"]).any()
        runs = {tuple(run.keys.values()) for run in atlas.runs(study, name)}
        assert set(metrics[keys].itertuples(index=False, name=None)) == runs
        assert list(predictions.columns) == [*keys, "metric", "value"]


def test_claims_are_decided_and_never_replicated_at_smoke_scale(finished):
    claims = pd.read_csv(finished.folder / "results/claims.csv")
    assert ",".join(claims.columns) == (
        "study,claim,source,statement,expected,tolerance,bound,measured,seeds,scale,verdict"
    )
    for study in STUDIES:
        own = pd.read_csv(finished.folder / f"results/claims/{study}.csv")
        assert own["claim"].tolist() == claims.loc[claims["study"] == study, "claim"].tolist()
    assert set(claims["study"]) == set(STUDIES)
    assert len(claims) > 50 and not claims["claim"].duplicated().any()
    assert "replicated" not in set(claims["verdict"])
    # From here, where the reference claims are.
    command = [BIN / "collapse", "list", "claims"]
    run = [*command, "--results", finished.folder / "results", "--scale", "smoke"]
    listed = subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout
    assert all(claim in listed for claim in claims["claim"])
    # One line each, those first that did not replicate, with the shipped verdict.
    order = [line for line in listed.splitlines() if re.match(r"\w.* \(\d+\)$", line)]
    counts = claims["verdict"].value_counts()
    given = [verdict for verdict in VERDICTS if verdict in counts]
    assert order == [f"{verdict} ({counts[verdict]})" for verdict in given]
    assert listed.count("; reference: ") > 100
    run = [*command, "mixup", "--long", "--scale", "reference", "--verdict", "not-replicated"]
    few = subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout
    shipped = read_csv(ROOT / "results/reference/claims/mixup.csv")
    failed = shipped[shipped["verdict"] == "not replicated"]
    assert few.count("\n    measured: ") == len(failed) > 0
    assert all(statement in few for statement in failed["statement"])
    other = finished.run("collapse", "list", "claims", "--scale", "laptop")
    assert other.returncode == 2 and "decided at scale smoke, not at laptop" in other.stderr


@pytest.mark.parametrize("study", STUDIES)
def test_the_notebook_ran_without_an_error(finished, study):
    stem = finished.folder / "results/notebooks" / study
    notebook = json.loads(stem.with_suffix(".ipynb").read_text())
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    pictures = sum("image/png" in out.get("data", {}) for out in outputs)
    assert pictures == len(jobs.drawn(SMOKE, study))
    assert not any(out["output_type"] == "error" for out in outputs)
    assert stem.with_suffix(".html").stat().st_size > 100_000


def test_the_example_measures_alike_in_each_of_its_ways(finished):
    page = finished.folder / "results/notebooks/own_network.html"
    one, two, shards, last = (
        [float(cell) for cell in re.findall(rf'_col{column}">([\d.e-]+)<', part)]
        for part in re.findall("<tbody>.*?</tbody>", page.read_text(), re.DOTALL)[1:]
        for column in (0, 1)
    )
    assert one == pytest.approx(two, rel=1e-4) and len(one) == 3
    assert shards == pytest.approx(last, rel=1e-4) and len(shards) == 6


@pytest.mark.parametrize("name", jobs.EXAMPLES)
def test_an_example_shows_a_picture_and_nothing_of_the_machine(finished, name):
    page = finished.folder / f"results/notebooks/{name}.html"
    assert page.stat().st_size < 1.5e6
    outputs = shown_by(page)
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 1
    # Neither errors nor what commands complain about.
    assert {"error", "stderr"}.isdisjoint(out.get("name", out["output_type"]) for out in outputs)
    for out in outputs:
        out.get("data", {}).pop("image/png", None)
        assert not re.search(rf"{tempfile.gettempdir()}/|{Path.home()}/", json.dumps(out))


def shown_by(page):
    """Return the outputs of the notebook of a page."""
    cells = json.loads(page.with_suffix(".ipynb").read_text())["cells"]
    return [out for cell in cells for out in cell.get("outputs", [])]


def shown_tables(page):
    """Return the rows of each table among a notebook's outputs."""
    found = ("".join(out.get("data", {}).get("text/html", "")) for out in shown_by(page))
    return [
        [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in text.split("<tr>")[2:]]
        for text in found
        if text
    ]


def test_an_own_experiment_reaches_its_closed_form(finished):
    page = finished.folder / "results/notebooks/own_experiment.html"
    *_, beside = shown_tables(page)
    rows = [[float(value) for value in row] for row in beside]
    assert [decay for decay, *_ in rows] == [1e-3, 3e-3, 1e-2]
    for decay, descent, predicted, command in rows:
        theory = deep_linear.predict(
            class_sizes=[20] * 3, weight_decay=[decay] * 2, feature_decay=1e-3
        )
        assert predicted == command == pytest.approx(theory["loss"], abs=1e-6)
        assert descent == pytest.approx(predicted, abs=2e-6)
    printed = ["".join(out["text"]) for out in shown_by(page) if "text" in out]
    refused, files = printed
    assert refused.startswith("collapse: error: misspelt.yaml: deep_linear.mine.problem.dept: ")
    assert refused.count("\n") == 1 and "did you mean 'depth'?" in refused
    assert "results/figures/deep_linear/experiment/mine.png\n" in files


def test_an_own_study_shows_all_its_files_and_is_decided(finished):
    page = finished.folder / "results/notebooks/own_study.html"
    said = ["".join(out["data"].get("text/markdown", "")) for out in shown_by(page)]
    files = jobs.shown("own_study", ROOT)
    assert len(files) == 11
    for path in files:
        name = Path(path).relative_to(ROOT / "tests/toys/relu")
        (text,) = (text for text in said if text.startswith(f"`{name}`\n"))
        assert Path(path).read_text() in text
    (first,), (second,) = shown_tables(page)
    assert (first[-2:], second[-2:]) == (["2", "inconclusive"], ["3", "replicated"])
    told = json.loads(digests_path(page).read_text())["provenance"]["sources"]
    assert [name for name, _ in told] == ["own_study.ipynb", *(Path(path).name for path in files)]


def test_examples_are_the_same_elsewhere_whatever_the_user_has_set_up(finished, tmp_path):
    elsewhere = tmp_path / "else where"
    targets = [f"results/notebooks/{name}.html" for name in ("own_experiment", "own_study")]
    words = ["-s", str(finished.folder / "Snakefile"), "--directory", str(elsewhere)]
    # For the commands in cells: this one is told to mind none.
    user = {"SNAKEMAKE_PROFILE": "/nowhere", "SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    done = finished.snakemake(*words, "--profile", "none", "--", *targets, **user)
    assert done.returncode == 0, done.stdout + done.stderr
    for target in targets:
        assert (elsewhere / target).read_bytes() == (finished.folder / target).read_bytes()
    assert finished.planned() == {}


def test_an_edit_of_a_file_that_an_example_shows_executes_it_again(finished):
    path = finished.folder / "tests/toys/relu/config/studies/relu_toy.yaml"
    before = edit(path, "# edited\n")
    try:
        assert finished.planned() == {"notebook": 1}
    finally:
        path.write_text(before)
    assert finished.planned() == {}


def test_an_example_whose_files_are_not_there_is_not_planned(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    assert jobs.notebooks(SMOKE, tmp_path) == [*STUDIES, "own_network", "own_experiment"]
    (tmp_path / "notebooks/own_network.ipynb").unlink()
    assert jobs.notebooks(SMOKE, tmp_path) == [*STUDIES, "own_experiment"]


def test_the_checkout_stays_clean(finished):
    known = {"Snakefile", "workflow", "config", "envs", "notebooks", "profiles", "results"}
    known |= {".snakemake", "tests"}
    assert {path.name for path in finished.folder.iterdir()} == known
    assert not list(finished.folder.glob("notebooks/**/.*"))


def test_every_artifact_says_what_determines_it(finished):
    path = finished.folder / "results/deep_linear/frames/metrics.parquet"
    content = json.loads(pq.read_schema(path).metadata[b"collapse"])
    assert set(content["provenance"]) >= {"code", "config", "inputs", "packages", "device", "seed"}
    assert content["digest"] == stored_digest(path)
    assert json.loads(path.with_name(path.name + ".run.json").read_text())["host"]


def test_results_that_lie_in_others_are_not_held_against_those(finished, tmp_path):
    inner = tmp_path / "results/reference"
    shutil.copytree(finished.folder / "results", inner)
    # Around them lies another file of a name that one of theirs was made from.
    (tmp_path / "results/data").mkdir()
    (inner / "data/digits.safetensors").rename(tmp_path / "digits.safetensors")
    shutil.copy(inner / "data/reacher.safetensors", tmp_path / "results/data/digits.safetensors")
    done = finished.run("collapse", "verify", str(inner))
    assert done.returncode == 0, done.stdout
    assert "results/reference/data/digits" in done.stdout


def test_finished_results_verify_and_what_is_changed_is_named(finished, tmp_path):
    done = finished.run("collapse", "verify")
    assert done.returncode == 0 and done.stdout.endswith("files, no differences\n"), done.stdout
    copy = tmp_path / "results"
    shutil.copytree(finished.folder / "results", copy)
    changed = [
        copy / name
        for name in (
            "claims.csv",
            "claims/mixup.csv",
            "data/digits.safetensors",
            "deep_linear/frames/metrics.parquet",
            "figures/regression/nrc.digest.json",
            "figures/regression/norms.pdf",
            "notebooks/mixup.html",
        )
    ]
    for path in changed:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    gone = copy / "figures/mixup/ufm.png"
    gone.unlink()
    # Further disks are linked; so is what a cache no longer holds.
    (copy / "deep_linear").rename(tmp_path / "moved")
    (copy / "deep_linear").symlink_to(tmp_path / "moved")
    dangling = copy / "imbalanced/direct_optimisation/metrics.parquet"
    dangling.unlink()
    dangling.symlink_to(tmp_path / "nothing")
    changed.append(dangling)
    features = next(copy.glob("regression/*/*/features.safetensors"))
    features.unlink()
    done = finished.run("collapse", "verify", str(copy))
    lines = done.stdout.splitlines()
    # In the order of the files, each once.
    assert done.returncode == 1 and lines[-1].endswith(f"files, {len(changed) + 1} differences")
    named = {line.split(":")[0] for line in lines[:-2]}
    assert named == {str(path) for path in [*changed, gone]}
    assert lines[-2].startswith("no longer there, though files were made from them")
    told = finished.run("collapse", "provenance", str(copy / "claims.csv"))
    assert told.returncode == 2 and "claims.csv: digest" in told.stderr
    listed = finished.run("collapse", "list", "claims", "--scale", "smoke", "--results", str(copy))
    assert listed.returncode == 2 and str(changed[1]) in listed.stderr
    dangling.unlink()
    # Another scale's figure, with its digests.
    swapped = copy / "figures/deep_linear/network_mlp.png"
    digests = json.loads((path := digests_path(swapped)).read_text())
    provenance = digests["provenance"] | {"config": "0" * 16}
    write_digests(
        [swapped.with_suffix(kind) for kind in (".csv", ".pdf", ".png", ".rst")], provenance
    )
    assert json.loads(path.read_text())["files"] == digests["files"]
    settings = ["--config", "scale=smoke", f"results={copy}", "--report"]
    for target, words in (
        ("notebooks/mixup.html", "mixup.html: digest"),
        ("figures/deep_linear/network_mlp.png", "made by other config than planned"),
    ):
        report = finished.run(
            "snakemake", *settings, str(tmp_path / "report.html"), "--", f"{copy}/{target}"
        )
        assert report.returncode == 2 and words in report.stderr
        assert not (tmp_path / "report.html").exists()


def test_what_a_figure_was_made_from_is_told_back_to_the_data_set(finished):
    file = "results/figures/deep_linear/network_mlp.png"
    done = finished.run("collapse", "provenance", file)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["stage"] == "figure" and told["config"]["values"]["figure"] == "network_mlp"
    assert told["digest"] == stored_digest(finished.folder / file) and told["host"]
    upstream = told["upstream"]
    group = "deep_linear/network_mlp/depth=3+bias=false+seed=0"
    assert set(upstream) >= {"data/digits.safetensors", f"{group}/states.safetensors"}
    assert upstream["data/digits.safetensors"]["inputs"] == []
    states = upstream[f"{group}/states.safetensors"]
    assert states["device"] == "cpu" and states["packages"]["torch"] and states["wall_seconds"] > 0
    assert states["config"]["values"]["seeds"] == states["seed"] == [0]
    named = {name for told in upstream.values() for name, _ in told["inputs"]}
    assert named < set(upstream) and None not in upstream.values()


def test_what_is_not_known_of_a_file_is_null(finished, tmp_path):
    table = finished.folder / "results/deep_linear/frames/metrics.parquet"
    shutil.copy(table, tmp_path)
    # What lies beside a file has no say in what determines it.
    (tmp_path / f"{table.name}.run.json").write_text('{"digest": "0", "code": null, "inputs": []}')
    done = finished.run("collapse", "provenance", str(tmp_path / table.name))
    told = json.loads(done.stdout)
    assert told["commit"] is told["wall_seconds"] is told["config"]["values"] is None
    assert told["code"] and told["digest"] == stored_digest(table)
    assert set(told["upstream"].values()) == {None}
    done = finished.run("collapse", "provenance", str(tmp_path / "no.csv"))
    assert done.returncode == 2 and "no such file" in done.stderr
    (tmp_path / "own.csv").write_text("a\n1\n")
    done = finished.run("collapse", "provenance", str(tmp_path / "own.csv"))
    assert done.returncode == 2 and "without a digest in own.digest.json" in done.stderr


def counts(text):
    """Return how many jobs are in each state, by experiment, of what `status` prints."""
    rows = re.findall(r"^(\S.*?) +(\d+|-) +(\d+|-) +(\d+|-) +(\d+|-)$", text, re.MULTILINE)
    return {name: [0 if each == "-" else int(each) for each in row] for name, *row in rows}


def test_status_says_what_is_done_running_waiting_and_failed(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.folder / "results", results)
    command = ["collapse", "status", "--scale", "smoke", "--results", str(results)]
    before = finished.run(*command).stdout
    atlas = load("config", {"scale": "smoke"})
    experiments = [f"{study} {name}" for study in atlas.studies for name in atlas.studies[study]]
    assert set(experiments) < set(counts(before))
    assert all(done and not any(rest) for done, *rest in counts(before).values())
    name = "regression hopper"
    groups = sorted(path.parent for path in results.glob("regression/hopper/*/states.safetensors"))
    for group in groups:
        (group / "states.safetensors").unlink()
    logs = [results / f"logs/regression/hopper/{group.name}/train.log" for group in groups]
    signs = [
        {"state": "running", "progress": "epoch 3/6  loss 0.1  2.00 s/epoch  00:06 left"},
        {"state": "running", "waits": "for a GPU"},
    ]
    for log, sign in zip(logs, signs, strict=True):
        sign |= {"digest": specs.read(f"{log}.json", "compute").digest, "host": "node7"}
        Path(f"{log}.status.json").write_text(json.dumps(sign | {"process": 5, "slurm_job": "9"}))
    text = finished.run(*command).stdout
    total = sum(counts(before)[name])
    assert counts(text)[name] == [1, 1, total - 2, 0]
    assert counts(text)["regression swimmer"] == counts(before)["regression swimmer"]
    assert counts(text)["regression figures, claims"][2] > 5
    line = f"regression/hopper/{groups[0].name}/train: epoch 3/6  loss 0.1  2.00 s/epoch"
    assert f"running  {line}  00:06 left, process 5 on node7, SLURM job 9" in text
    line = f"regression/hopper/{groups[1].name}/train: for a GPU"
    assert f"waiting  {line}, process 5 on node7, SLURM job 9" in text
    # One that failed, by its log; the other gives no sign any more.
    logs[0].write_text("$ collapse\nepoch 3/6\r\nOSError: the disk is full\n")
    failed = signs[0] | {"state": "failed"}
    Path(f"{logs[0]}.status.json").write_text(json.dumps(failed))
    os.utime(f"{logs[1]}.status.json", (time.time() - 100,) * 2)
    text = finished.run(*command).stdout
    assert counts(text)[name] == [1, 0, total - 3, 2]
    assert f"train: OSError: the disk is full\n         {logs[0]}" in text
    assert re.search(r"train: ended without a word 1\d\d s ago", text)
    # Of a job that is planned otherwise by now it says nothing.
    Path(f"{logs[0]}.status.json").write_text(json.dumps(failed | {"digest": "other"}))
    assert "OSError" not in finished.run(*command).stdout


def test_a_plan_counts_runs_and_jobs_and_grows_with_the_epochs(finished):
    atlas = load("config", {"scale": "smoke"})

    def planned(*arguments):
        done = finished.run("collapse", "plan", "--scale", "smoke", *arguments)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stdout.splitlines()[1:-1]]
        return {" ".join(line[:2]): line[2:] for line in lines}

    plan = planned()
    runs = {
        f"{study} {name}": len(atlas.runs(study, name))
        for study, experiments in atlas.studies.items()
        for name in experiments
    }
    assert {name: int(plan[name][0]) for name in runs} == runs
    minutes = []
    for epochs in (80_000, 160_000):
        changed = f"mixup={{network_baseline: {{training: {{epochs: {epochs}}}}}}}"
        row = planned("--config", changed)["mixup network_baseline"]
        assert row[2:4] == [f"{epochs:,}", "epochs"]
        minutes.append(float(row[4]))
    assert minutes[1] == pytest.approx(2 * minutes[0], rel=0.05)


def test_a_second_run_does_nothing(finished):
    assert finished.planned() == {}


def test_editing_a_figure_reruns_only_that_figure(finished):
    module = "studies/deep_linear/collapse_threshold.py"
    assert replan(finished, "studies/deep_linear/geometry.py") == {"figure": 1, "notebook": 1}
    assert replan(finished, module, "\n# only a comment\n") == {}


def test_editing_the_trainer_retrains_and_a_comment_does_not(finished):
    planned = replan(finished, "training/trainer.py")
    # The problem that starts from a network's features is solved anew, too.
    assert planned["train"] == 39 and planned["solve"] == 1
    assert replan(finished, "training/trainer.py", "\n# only a comment\n") == {}


def test_editing_one_experiment_reruns_only_it(finished):
    path = finished.folder / "config/scales/smoke/deep_linear.yaml"
    before = path.read_text()
    path.write_text(
        before.replace("frames: {optimiser: {steps: 300", "frames: {optimiser: {steps: 299")
    )
    try:
        planned = finished.planned()
    finally:
        path.write_text(before)
    assert planned["solve"] == 2 and planned["measure"] == 1 and "train" not in planned


def test_after_a_training_that_failed_what_was_made_from_the_one_before_is_not_finished(
    finished, tmp_path
):
    checkout = Checkout(tmp_path / "checkout", copy=False)
    shutil.copytree(finished.folder, checkout.folder, symlinks=True)
    path = checkout.folder / "config/scales/smoke/deep_linear.yaml"
    config = yaml.safe_load(path.read_text())
    experiments = config["deep_linear"]
    # A copy: what other experiments share of it stays.
    training = experiments["network_mlp"]["training"] | {"epochs": 7}
    experiments["network_mlp"] = experiments["network_mlp"] | {"training": training}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    wanted = {"train": 1, "measure_group": 1, "table": 1, "notebook": 1}
    target = "deep_linear"
    before = checkout.planned("--", target)
    assert wanted.items() <= before.items()
    # Snakemake removes what a failed job wrote, and what it knows of it.
    (group,) = (checkout.folder / "results/deep_linear/network_mlp").glob("depth=*")
    files = [group / name for name in ("states.safetensors", "history.parquet")]
    known = [str(file.relative_to(checkout.folder)) for file in files]
    assert checkout.snakemake("--cleanup-metadata", *known).returncode == 0
    for file in files:
        file.unlink()
    assert checkout.planned("--", target) == before


def test_editing_a_metric_measures_again_and_computes_nothing(finished):
    planned = replan(finished, "metrics/layers.py")
    assert {"train", "data", "predictions"}.isdisjoint(planned)
    assert planned["measure"] == 21 and planned["measure_group"] == 33
    # What starts from features that are dumped anew.
    assert planned["solve"] == 1


def test_editing_a_studys_theory_leaves_the_others_alone(finished):
    planned = replan(finished, "theory/imbalanced.py", "\nEDITED = True\n", "-p")
    assert {"solve", "train", "data"}.isdisjoint(planned)
    assert (planned["predictions"], planned["measure"], planned["measure_group"]) == (9, 7, 2)
    assert planned["study_claims"] == 1 and planned["figure"] == 7


def test_a_command_line_does_not_grow_with_the_experiment(finished):
    logs = (finished.folder / "results/logs").rglob("*.log")
    firsts = [log.read_text().splitlines()[0] for log in logs]
    # The longest names three outputs of a group; the system's limit is 128 KiB.
    assert len(firsts) > 100 and max(map(len, firsts)) < 1_000


def test_a_log_begins_with_the_line_that_runs_its_job_alone(finished, tmp_path):
    folder = finished.folder / "results/deep_linear/frames"
    log = finished.folder / "results/logs/deep_linear/frames/measure.log"
    first = log.read_text().splitlines()[0]
    assert first.startswith("$ collapse measure_runs --spec results/logs/deep_linear/frames/")
    written = (folder / "metrics.parquet").read_bytes()
    words = shlex.split(first.removeprefix("$ "))
    for name in ("metrics", "samples"):
        words[words.index(f"--{name}") + 1] = str(tmp_path / f"{name}.parquet")
    assert finished.run(*words).returncode == 0
    assert (tmp_path / "metrics.parquet").read_bytes() == written
    # A person can read what it is told.
    spec = json.loads(Path(f"{log}.json").read_text())
    assert spec["job"]["probes"] == [{"kind": "classifier"}] and spec["stage"] == "measure_runs"


@pytest.mark.parametrize("edited", ["code", "spec", "input"])
def test_a_job_refuses_what_is_not_as_planned(finished, tmp_path, edited):
    log = finished.folder / "results/logs/deep_linear/frames/measure.log"
    words = shlex.split(log.read_text().splitlines()[0].removeprefix("$ "))
    for name in ("metrics", "samples"):
        words[words.index(f"--{name}") + 1] = str(tmp_path / f"{name}.parquet")
    spec = json.loads(Path(f"{log}.json").read_text())
    before = None
    if edited == "code":
        probe = finished.folder / "workflow/collapse/probes/classifier.py"
        before = edit(probe)
    elif edited == "spec":
        spec["job"]["probes"] = []
    else:
        name = "deep_linear/frames/frames.parquet"
        spec["inputs"]["frames"][name]["config"] = "0123456789abcdef"
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    words[words.index("--spec") + 1] = str(path)
    try:
        done = finished.run(*words)
    finally:
        if before is not None:
            probe.write_text(before)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "start the workflow again" in done.stderr
    assert not (tmp_path / "metrics.parquet").exists()


def test_results_of_another_scale_are_not_overwritten(finished):
    for settings, words in (
        (["scale=laptop"], "results holds results of scale smoke, not of scale laptop"),
        (["scale=smoke", "first_seed=1000"], "not of scale smoke, seeds from 1000"),
    ):
        done = finished.run("snakemake", "-n", "--config", *settings)
        errors = [line for line in done.stderr.splitlines() if line.startswith("collapse: error:")]
        assert done.returncode == 2 and len(errors) == 1 and words in errors[0]
        assert "--config results=FOLDER" in errors[0] and "rm results/scale.txt" in errors[0]
    trial = finished.planned("results=trial", "first_seed=1000", "deep_linear")
    assert trial["solve"] == 8 and not (finished.folder / "trial").exists()


def test_the_plain_call_is_right_from_anywhere(finished, tmp_path):
    settings = ["--config", "scale=smoke"]
    plain = finished.run("snakemake", "-n", *settings)
    snakefile = ["-s", str(finished.folder / "Snakefile")]
    environment = os.environ | {"PYTHONPATH": str(finished.folder / "workflow")}
    elsewhere = [
        subprocess.run(
            [BIN / "snakemake", "-n", *snakefile, *words, *settings],
            **{"cwd": tmp_path, "env": environment, "capture_output": True, "text": True},
        )
        for words in (["--directory", str(finished.folder)], [])
    ]
    for done in (plain, *elsewhere):
        assert done.returncode == 0, done.stderr
        assert "eligible for caching" not in done.stderr
    # Elsewhere there are no results yet.
    said = ["Nothing to be done" in done.stdout + done.stderr for done in (plain, *elsewhere)]
    assert said == [True, True, False]


def test_a_study_plans_nothing_of_the_others(finished):
    done = finished.run("snakemake", "-n", "-F", "--config", "scale=smoke", "--", "regression")
    assert done.returncode == 0
    assert "results/regression" in done.stdout and "imbalanced" not in done.stdout


def test_a_shared_cache_saves_a_second_checkout_the_work(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache") / "made at start-up"
    contents, sidecars = [], []
    # Results in a folder of another name are the same results.
    for results in ("results", "trial"):
        checkout = Checkout(tmp_path_factory.mktemp("clone"))
        target = f"{results}/deep_linear/global_optimum/metrics.parquet"
        words = [f"results={results}", "--cache", "--", target]
        done = checkout.snakemake(*words, SNAKEMAKE_OUTPUT_CACHE=str(cache))
        assert done.returncode == 0, done.stdout + done.stderr
        contents.append((checkout.folder / target).read_bytes())
        sidecars.append(len(list((checkout.folder / results).rglob("*.run.json"))))
    assert contents[0] == contents[1]
    # States and history, predictions and frames, metrics and samples: the job that computes a file
    # writes its sidecar.
    assert sidecars == [6, 0]


def test_a_custom_config_adds_experiments_and_carries_a_divergence(checkout):
    blocks = {
        "mine": {
            "problem": {"kind": "deep_linear", "class_sizes": [5, 3], "widths": 4, "depth": 2},
            "optimiser": {"kind": "sgd", "learning_rate": 0.1, "steps": 40, "record": 4},
            "weight_decay": 1e-3,
            "feature_decay": 1e-3,
            "grid": {"weight_decay": [1e-3, 1e-2], "optimiser.learning_rate": [0.1, 1e6]},
            "seeds": 2,
        },
        "direct_optimisation": {
            "grid": {"problem.bias": [True], "optimiser.learning_rate": [0.1, 1e6]}
        },
        "network_mlp": {
            "grid": {"head.depth": [1], "weight_decay": [0.0, 1e-2, 1e9]},
            "training": {"optimiser": "sgd", "augmentation": ["flip"], "precision": "float32"},
            "seeds": 2,
        },
    }
    sizes = [[1] * 25, list(range(1, 91)), [2] * 90]
    blocks["größen.v-2"] = blocks["mine"] | {"grid": {"problem.class_sizes": sizes}, "seeds": 1}
    (checkout.folder / "my.yaml").write_text(yaml.safe_dump({"deep_linear": blocks}))
    targets = [
        "results/deep_linear/mine/metrics.parquet",
        "results/deep_linear/mine/predictions.parquet",
        "results/figures/deep_linear/direct_optimisation.png",
        "results/deep_linear/network_mlp/metrics.parquet",
        "results/deep_linear/größen.v-2/metrics.parquet",
        "results/figures/deep_linear/experiment/mine.png",
        "results/figures/deep_linear/experiment/größen.v-2.pdf",
    ]
    done = checkout.snakemake(*targets, "--configfile", "my.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if "diverged" in line]
    assert len(lines) == 3 and all(line.startswith("deep_linear/") for line in lines)
    assert (
        "deep_linear/mine: 4 of 8 runs diverged (learning_rate 1e+06, weight_decay 0.001, seed 0"
        in (done.stderr)
    )
    told = checkout.run("collapse", "status", "--scale", "smoke", "--configfile", "my.yaml").stdout
    assert "diverged deep_linear/mine: 4 of 8 runs diverged" in told
    metrics = read_table(checkout.folder / targets[0])
    diverged = metrics[metrics["metric"] == "diverged"]
    assert len(diverged) == 4 and set(diverged["learning_rate"]) == {1e6}
    fine = metrics[(metrics["metric"] == "loss") & (metrics["learning_rate"] == 0.1)]
    assert np.isfinite(fine["value"]).all() and fine["step"].max() == 40
    predictions = read_table(checkout.folder / targets[1])
    assert predictions[predictions["metric"] == "loss"]["value"].nunique() == 2
    networks = read_table(checkout.folder / targets[3])
    assert set(networks[networks["metric"] == "diverged"]["weight_decay"]) == {1e9}
    trained = networks[(networks["metric"] == "NC1") & (networks["step"] == 6)]
    assert len(trained) == 4 and trained["value"].nunique() == 4
    # Whole, however short the names of folders are.
    told = {"-".join(map(str, each)) for each in sizes}
    assert set(read_table(checkout.folder / targets[4])["class_sizes"]) == told
    # Drawn are the runs that reached their end, beside their closed form.
    drawn = pd.read_csv((checkout.folder / targets[5]).with_suffix(".csv"))
    assert set(drawn["learning_rate"]) == {0.1} and set(drawn["weight_decay"]) == {1e-3, 1e-2}
    shown = drawn[(drawn["metric"] == "loss") & (drawn["place"] == 40)]
    medians = fine[fine["step"] == 40].groupby("weight_decay")["value"].median()
    assert shown.set_index("weight_decay")["median"].to_dict() == medians.to_dict()
    assert sorted(shown["predicted"]) == sorted(
        predictions.loc[predictions["metric"] == "loss", "value"].unique()
    )
    said = (checkout.folder / targets[5]).with_suffix(".rst").read_text()
    assert "4 of 8 runs diverged and are not drawn: learning_rate = 1e+06, weight" in said
    assert (checkout.folder / targets[6]).read_bytes().startswith(b"%PDF")
    # One job, one folder for the six networks.
    assert [path.name for path in (checkout.folder / targets[3]).parent.glob("*=*")] == [
        "depth=1+seeds=0-1"
    ]


def test_a_line_a_study_says_how_its_experiments_are_drawn(finished):
    listed = finished.run("collapse", "list", "figures", "--scale", "smoke").stdout.splitlines()
    paths = [line for line in listed if line.startswith("results/figures/")]
    assert len(paths) == len(FIGURES) + len(STUDIES) and max(map(len, listed)) <= 100
    assert [f"results/figures/{study}/experiment/NAME.pdf" for study in STUDIES] == [
        line for line in paths if "/experiment/" in line
    ]


@pytest.mark.parametrize(
    ("study", "name"), [("mixup", "free_classifier"), ("regression", "hopper")]
)
def test_a_shipped_experiment_is_drawn_from_its_tables_alone(finished, tmp_path, study, name):
    checkout = Checkout(tmp_path / "checkout", copy=False)
    shutil.copytree(finished.folder, checkout.folder, symlinks=True)
    target = f"results/figures/{study}/experiment/{name}.png"
    done = checkout.snakemake("--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 steps (100%) done" in done.stdout + done.stderr
    image = imread(checkout.folder / target)[..., :3]
    assert image.shape[1] >= 600 and (image.min(axis=2) < 0.9).mean() > 0.005
    assert checkout.run("collapse", "verify", str(checkout.folder / target)).returncode == 0
    edit(checkout.folder / "workflow/collapse/studies/picture.py")
    assert checkout.planned("--", target) == {"picture": 1}
    # One of the examples shows a picture.
    assert checkout.planned() == {"notebook": 1}


@pytest.mark.parametrize("study", STUDIES)
def test_figures_and_claims_say_which_runs_diverged(finished, study):
    names = tuple(SMOKE.studies[study])
    paths = [f"results/{path}" for path, _ in jobs.tables(SMOKE, study, names)]
    described = jobs.described(SMOKE, study, names)
    experiments = studies.read_experiments(
        [str(finished.folder / path) for path in paths], described, study
    )
    claims = import_module(f"collapse.studies.{study}.claims")
    for share in ("half", "all"):
        lost = {name: diverge(each, share) for name, each in experiments.items()}
        for name in jobs.drawn(SMOKE, study):
            with paper_style():
                figure, _ = import_module(f"collapse.studies.{study}.{name}").draw(lost)
                say_what_diverged(figure, lost)
                # Where all are lost there are no more marks than this line.
                if share == "half":
                    figure.canvas.draw()
            assert any("diverged" in text.get_text() for text in figure.findobj(Text)), name
        rows = pd.DataFrame(claims.decide(lost))
        assert set(rows["verdict"]) == {"inconclusive"}
        assert rows["measured"].str.contains("diverged").sum() > 10


def diverge(experiment, share):
    """Return the experiment as if every other run, or every run, had diverged at step 3."""
    runs = experiment.metrics[experiment.keys].drop_duplicates()
    gone = runs if share == "all" else runs.iloc[::2]
    rows = gone.assign(step=3, layer="all", metric="diverged", value=1.0)
    metrics = pd.concat([experiment.metrics, rows], ignore_index=True)
    if share == "all":
        metrics = metrics[metrics["metric"] == "diverged"]
    return replace(experiment, metrics=metrics)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--configfile", "my.yaml"], ["my.yaml", "network_mlp.traning", "'training'"]),
        (["--configfile", "null.yaml"], ["deep_linear.frames: null found", "figure geometry"]),
        (["--configfile", "twice.yaml"], ["twice.yaml", "'seeds' given twice"]),
        (["deep_linear={frames: {seeds: 1, seeds: 2}}"], ["'seeds' given twice"]),
        (["results/figures/deep_linear/network_vgg.pdf"], ["'network_vgg' at this scale"]),
        (["results/figures/deep_linear/nonsense.pdf"], ["no figure 'nonsense'", "geometry"]),
        (["results/figures/deep_liner/geometry.pdf"], ["'deep_liner', did you mean 'deep_linear'"]),
        (["results/deep_linear/nonsense/metrics.parquet"], ["no experiment", "nonsense"]),
        (["results/deep_liner/frames/metrics.parquet"], ["no study 'deep_liner'", "imbalanced"]),
        (
            ["results/figures/deep_linear/experiment/nonsense.pdf"],
            ["no experiment of deep_linear 'nonsense'", "network_mlp"],
        ),
        (["results/data/nonsense.safetensors"], ["no data set 'nonsense'", "digits"]),
        (["results/data/no-such.é.safetensors"], ["no data set 'no-such.é'", "digits"]),
        (["--cache", "--", "deep_linear"], ["--cache", "SNAKEMAKE_OUTPUT_CACHE is not set"]),
    ],
)
def test_snakemake_refuses_in_one_line(checkout, arguments, words):
    (checkout.folder / "my.yaml").write_text("deep_linear: {network_mlp: {traning: {}}}")
    (checkout.folder / "null.yaml").write_text("deep_linear: {frames: null}")
    twice = "deep_linear: {network_mlp: {seeds: 1, seeds: 2}}"
    (checkout.folder / "twice.yaml").write_text(twice)
    done = checkout.snakemake(*arguments)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("collapse: error:")]
    assert len(errors) == 1 and all(word in errors[0] for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout.folder / "results").exists()


def test_a_config_file_that_snakemake_cannot_read_is_refused_before_it_does(checkout):
    (checkout.folder / "my.yaml").write_text("a: &a {b: [*a]}")
    done = checkout.snakemake("-n", "--configfile", "my.yaml", "--", "deep_linear")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("collapse: error: my.yaml: not valid YAML (found unconstructable")
    assert done.stderr.count("\n") == 1


def test_a_target_behind_settings_is_refused(checkout):
    done = checkout.run("snakemake", "-n", "--config", "scale=smoke", "results/claims.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("collapse: error: --config: results/claims.csv: should be KEY=")
    assert done.stderr.count("\n") == 1


def test_links_that_lead_nowhere_are_refused_at_the_start(checkout):
    lost = checkout.folder / "results/deep_linear/frames/metrics.parquet"
    lost.parent.mkdir(parents=True)
    lost.symlink_to(checkout.folder / "cache/gone")
    (lost.parent / "samples.parquet").symlink_to("gone")
    done = checkout.snakemake("--", "deep_linear")
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "collapse: error" in line)
    assert f"{checkout.folder}/cache/gone" in line and "(and 1 more like it)" in line
    cure = line.split("`")[1]
    subprocess.run(shlex.split(cure), cwd=checkout.folder, check=True)
    assert checkout.planned("--", "deep_linear")["measure"] == 6


def test_a_machine_that_submits_nothing_is_refused_the_profile_of_a_cluster(tmp_path):
    checkout, path = Checkout(tmp_path), tmp_path / "bin"
    path.mkdir()
    for program in ("bash", "env", "git", "which"):
        (path / program).symlink_to(shutil.which(program))
    profile, target = "workflow/profiles/slurm", "results/deep_linear/frames/metrics.parquet"
    done = checkout.snakemake("--workflow-profile", profile, "--", target, PATH=str(path))
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "collapse: error" in line)
    assert "sbatch" in line and "Traceback" not in done.stderr
    # Nothing is computed, nor is the folder locked.
    assert not list(tmp_path.rglob("*.parquet"))
    assert checkout.planned("--", target)


def test_a_damaged_input_fails_the_job_with_one_line(finished, tmp_path):
    log = next((finished.folder / "results/logs/deep_linear/network_mlp").glob("*/measure.log"))
    words = shlex.split(log.read_text().splitlines()[0].removeprefix("$ "))
    spec = json.loads((finished.folder / words[words.index("--spec") + 1]).read_text())
    for name in [name for files in spec["inputs"].values() for name in files]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished.folder / "results" / name, tmp_path / name)
    states = tmp_path / next(iter(spec["inputs"]["states"]))
    states.write_bytes(states.read_bytes()[:-100])
    spec["results"] = str(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    words[words.index("--spec") + 1] = str(tmp_path / "spec.json")
    for name in ("metrics.parquet", "samples.parquet", "features.safetensors"):
        words[words.index(f"--{name.split('.')[0]}") + 1] = str(tmp_path / name)
    done = finished.run(*words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert str(states) in done.stderr and not (tmp_path / "metrics.parquet").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["nonsense"],
        ["list", "nonsense"],
        ["list", "figures", "--long"],
        ["list", "claims", "nonsense"],
        ["list", "claims", "--verdict", "nonsense"],
        ["table", "--spec", "[]"],
        ["compute"],
        ["--nonsense"],
    ],
)
def test_a_bad_command_line_is_one_line(finished, command):
    done = finished.run("collapse", *command)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("collapse: error: ")
