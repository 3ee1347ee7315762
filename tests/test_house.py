"""Adding a paper adds files: it changes none, and no digest of another study's job."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collapse.artifacts import read_table
from conftest import ROOT, Checkout

TOYS = Path(__file__).parent / "toys"

# Digest of every job of a checkout, as its own package plans it.
DIGESTS = """
import json
from collapse import config, jobs
atlas = config.load("config", {"scale": "smoke"})
found = {}
for study, experiments in atlas.studies.items():
    for name in experiments:
        for folder, group in atlas.groups(study, name).items():
            where = study, name, folder
            found["/".join(("compute", *where))] = jobs.compute(atlas, *where).spec.digest
            if experiments[name].measured_by_group:
                found["/".join(("measure", *where))] = jobs.measure_group(atlas, *where).spec.digest
        for path, job in jobs.tables(atlas, study, [name]):
            found[path] = job.spec.digest
    for figure in jobs.drawn(atlas, study):
        found[f"{study}/{figure}"] = jobs.figure(atlas, study, figure).spec.digest
    found[f"claims/{study}"] = jobs.claims(atlas, study).spec.digest
for name in ("digits", "reacher", "hopper"):
    found[f"data/{name}"] = jobs.data(atlas, name).spec.digest
print(json.dumps(found))
"""


def digests(checkout):
    done = checkout.run("python", "-c", DIGESTS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drop(toy, checkout):
    """Copy the files of a toy into a checkout; none of them may be there already."""
    for path in sorted((TOYS / toy).rglob("*")):
        target = checkout.folder / path.relative_to(TOYS / toy)
        if path.is_file() and "__pycache__" not in path.parts:
            assert not target.exists()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


@pytest.fixture(scope="module")
def extended(finished, tmp_path_factory):
    """The finished checkout with both toys dropped in, and the digests before and after."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(finished.folder, folder, symlinks=True, dirs_exist_ok=True)
    checkout = Checkout(folder, copy=False)
    before = digests(checkout)
    for toy in ("relu", "map"):
        drop(toy, checkout)
    return checkout, before, digests(checkout)


def test_no_digest_of_another_studys_job_changes(extended):
    _, before, after = extended
    assert len(before) > 150
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in after.keys() - before.keys() if "compute" in name} == {
        "relu_toy",
        "map_toy",
    }


def test_a_toy_costs_less_than_a_hundred_lines_beside_its_mathematics():
    mathematics = {"problems", "theory", "procedures"}
    for toy in TOYS.iterdir():
        files = [path for path in toy.rglob("*") if path.suffix in (".py", ".yaml")]
        lines = [
            line
            for path in files
            if mathematics.isdisjoint(path.parent.parts)
            for line in path.read_text().splitlines()
            if line.strip()
        ]
        assert len(files) > 5 and len(lines) < 100, toy


def test_only_the_toys_are_planned_and_they_run(extended):
    checkout, *_ = extended
    planned = checkout.planned()
    assert planned == {
        **{"solve": 1, "measure": 1, "predictions": 2, "figure": 1, "study_claims": 2},
        **{"data": 1, "compute": 1, "measure_group": 1, "table": 1, "claims": 1, "overview": 1},
        "reference_page": 1,
    }
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    results = checkout.folder / "results"

    table = read_table(results / "relu_toy/descent/metrics.parquet")
    assert set(table["metric"]) == {"sparsity", "loss", "gradient_norm"}
    predicted = read_table(results / "relu_toy/descent/predictions.parquet")
    last = table[(table["metric"] == "loss") & (table["step"] == 3000)]["value"]
    assert last.to_numpy() == pytest.approx(predicted["value"].to_numpy(), rel=1e-3)
    points = read_table(results / "relu_toy/descent/samples.parquet")
    assert list(points) == ["seed", "step", "layer", "probe", "label", "first", "second"]
    assert len(points) == 2 * 60 and (points["first"] >= 0).all()
    for suffix in ("pdf", "png", "csv"):
        assert (results / f"figures/relu_toy/descent.{suffix}").stat().st_size > 300
    reference = (results / "reference.html").read_text()
    assert "figure-relu_toy-descent" in reference and "experiments (power_toy)" in reference
    caption = (results / "figures/relu_toy/descent.rst").read_text()
    assert caption.startswith("Loss and features of a toy.\n\nThe loss ends at 0.")

    claims = pd.read_csv(results / "claims.csv")
    assert claims.loc[claims["study"] == "relu_toy", "verdict"].tolist() == ["inconclusive"]

    table = read_table(results / "map_toy/power/metrics.parquet")
    predicted = read_table(results / "map_toy/power/predictions.parquet")
    last = table[table["step"] == 40]["value"]
    assert len(last) == 4 and np.allclose(last, 3) and np.allclose(predicted["value"], 3)
    assert len(read_table(results / "map_toy/power/samples.parquet")) == 4 * 2 * 3


def test_the_new_study_predicts_on_the_command_line(extended):
    checkout, *_ = extended
    settings = ["classes=3", "per_class=20", "weight_decay=0.02", "feature_decay=0.001"]
    done = checkout.run("collapse", "predict", "relu_toy", "--set", *settings)
    assert done.returncode == 0
    level = np.sqrt(0.02 * 0.001)
    expected = 3 * (level * np.sqrt(20) - 60 * level**2 / 2)
    assert json.loads(done.stdout)["loss"] == pytest.approx(expected)


def test_a_scale_that_does_not_know_a_study_is_refused(extended):
    checkout, *_ = extended
    done = checkout.snakemake("-n", "results=other", scale="laptop")
    errors = [line for line in done.stderr.splitlines() if line.startswith("collapse: error:")]
    assert done.returncode == 2 and len(errors) == 1
    assert "config/scales/laptop/map_toy.yaml: no such file" in errors[0]


def test_no_kind_is_compared_with_outside_its_own_module():
    sections = ROOT / "workflow/collapse/config/sections"
    kinds = {path.stem: path for path in sections.glob("*/*.py") if path.stem != "__init__"}
    names = "|".join(sorted(kinds))
    pattern = re.compile(rf"""kind["'\]]*\s*[=!]=|[=!]=\s*["'](?:{names})["']""")
    # A deep linear problem's own word for its loss, and a metric, no kinds of a section; and a
    # device's kind.
    allowed = re.compile(r"\bloss\b.*\"(?:mse|ce)\"|\"metric\"\].*\"mse\"|benchmark\.kind|Literal")
    found = [
        f"{path}: {line.strip()}"
        for path in (ROOT / "workflow").rglob("*.py")
        for line in path.read_text().splitlines()
        if pattern.search(line) and not allowed.search(line)
    ]
    assert found == []


def test_planning_needs_no_torch():
    program = (
        "import sys; from collapse import config, jobs; "
        "atlas = config.load('config', {'scale': 'smoke'}); jobs.join_claims(atlas).spec; "
        "jobs.reference_page(atlas).spec; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
