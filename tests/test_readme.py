"""The README: its commands run, its links lead somewhere, its numbers are those of the results."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from collapse import comparison, config

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TEXT = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "results/reference"
DOCUMENTS = [
    ROOT / folder / "README.md"
    for folder in (
        ".",
        "config",
        "results/reference",
        "workflow/collapse",
        "workflow/profiles/slurm",
    )
]


BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language):
    return [block for name, block in BLOCKS if name == language]


def commands(*programs):
    lines = [line for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] and line.split()[0] in programs]


@pytest.fixture(scope="module")
def checkout(finished):
    """The finished workflow with what the README has its reader write."""
    configs = [block for block in blocks("yaml") if "my.yaml" in block]
    assert len(configs) == 1
    (finished.folder / "my.yaml").write_text(configs[0])
    (finished.folder / "results/reference").symlink_to(REFERENCE)
    given = {
        "H": means()[labels()] + 0.1 * torch.randn(300, 8, generator=seeded()),
        "y": labels(), "W": means(), "b": torch.zeros(3),
    }  # fmt: skip
    (program,) = (block for block in blocks("python") if "save_file" in block)
    path = finished.folder / "features.safetensors"
    exec(program.replace('"features.safetensors"', repr(str(path))), given)
    yield finished
    for name in ("my.yaml", "features.safetensors", "results/reference"):
        (finished.folder / name).unlink()


def run(checkout, line):
    """Run a line of the README in a shell, as its reader does."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(checkout.folder / "workflow")}
    return subprocess.run(
        ["bash", "-c", line], cwd=checkout.folder, env=environment, capture_output=True, text=True
    )


def seeded():
    return torch.Generator().manual_seed(0)


def means():
    return 2 * torch.eye(3, 8)


def labels():
    return torch.arange(300) % 3


@pytest.mark.parametrize("line", commands("collapse"))
def test_a_command_of_ours_runs(checkout, line):
    # These read the config at scale laptop unless told, and the results here are of another.
    if line.split()[1] == "status":
        line += " --scale smoke"
    done = run(checkout, line)
    # Of a comparison that other verdicts were found.
    assert done.returncode == (1 if "compare" in line else 0) and done.stdout.strip(), done.stderr


# Those for a cluster the tests on SLURM run.
@pytest.mark.parametrize(
    "line", [line for line in commands("snakemake") if "--workflow-profile" not in line]
)
def test_a_command_of_snakemake_is_planned(checkout, line):
    options = " --dry-run --config scale=smoke"
    program, separator, targets = line.partition(" -- ")
    at_scale = f"{program}{options}{separator}{targets}"
    done = run(checkout, at_scale)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_has_the_targets_that_are_named():
    told = set(re.findall(r"`make ([a-z-]+)`", TEXT)) | {
        line.split()[1]
        for line in commands("make")
        if len(line.split()) > 1 and "#" not in line.split()[1]
    }
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "report", "bench", "test-full"} <= told <= rules


def test_outputs_are_those_of_the_commands_before_them(checkout):
    predicted, measured = map(json.loads, blocks("json"))
    first = next(line for line in commands("collapse") if "predict" in line)
    for line, shown in ((first, predicted), ("collapse measure features.safetensors", measured)):
        printed = json.loads(run(checkout, line).stdout)
        assert [key for key in printed if not key.endswith("_unweighted")] == list(shown)
        for key, value in shown.items():
            assert printed[key] == pytest.approx(value, rel=1e-3, abs=1e-12), key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_prose_is_wrapped(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("https://"):
            file, _, place = target.partition("#")
            path = document.parent / file if file else document
            assert path.exists(), target
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if place else []
            assert not place or place in [head.lower().replace(" ", "-") for head in heads], target
    prose = re.sub(r"^```.*?^```$|^[|!].*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    # What is quoted cannot be broken.
    assert [line for line in prose.splitlines() if len(line) > 100 and "`" not in line] == []


def test_the_examples_of_a_config_are_accepted(tmp_path):
    shown = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENTS[1].read_text(), re.MULTILINE | re.DOTALL)
    assert len(shown) > 3
    for example in shown:
        user = tmp_path / "my.yaml"
        user.write_text(example)
        atlas = config.load(ROOT / "config", config.read_yaml(user))
        told = config.read_yaml(user)
        for study in told.keys() - {"datasets"}:
            for name in filter(told[study].get, told[study]):
                assert atlas.runs(study, name)


def test_every_study_with_a_shipped_run_has_a_picture_and_its_verdicts():
    rows = re.findall(r"^\| \[`(\w+)`\].*\| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    verdicts = comparison.claims(REFERENCE).groupby("study")["verdict"]
    order = ["not replicated", "inconclusive", "replicated"]
    found = verdicts.value_counts().unstack(fill_value=0)[order]
    named = re.findall(r"^\| \[`(\w+)`\]", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "config/studies").glob("*.yaml"))
    # A study whose reference run is still to come has neither.
    studies = sorted(path.stem for path in (REFERENCE / "claims").glob("*.csv"))
    assert {study: list(map(int, counts)) for study, *counts in rows} == {
        study: found.loc[study].tolist() for study in studies
    }
    pictures = re.findall(r"!\[[^\]]+\]\(results/reference/figures/(\w+)/", TEXT)
    assert sorted(pictures) == studies


def test_what_cross_entropy_drops_below_the_etf_is_what_the_claims_measured():
    claims = comparison.claims(REFERENCE).set_index("claim")["measured"]
    drops = [
        float(re.search(r"([\d.]+) % at K=10", claims[f"ce_etf_M{depth}"])[1]) for depth in (2, 3)
    ]
    told = re.search(r"up to (\d+) and (\d+) % below the best ETF", TEXT)
    assert [round(drop) for drop in drops] == list(map(int, told.groups()))


def test_the_ratios_are_those_of_the_shipped_benchmark():
    shipped = pd.read_csv(REFERENCE / "benchmarks/benchmarks.csv")["ratio"].dropna()
    (table,) = re.findall(r"\| work \| against .*?\n\n", TEXT, re.DOTALL)
    ratios = [row.split("|")[5].strip() for row in table.strip().splitlines()[2:]]
    assert len(ratios) == 10
    for ratio in ratios:
        digits = 1 if "." in ratio else 0
        assert float(ratio) in [round(value, digits) for value in shipped], ratio
