import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collapse.artifacts import stored_provenance
from collapse.provenance import code_digest
from collapse.specs import Spec

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "notebooks", "profiles")


def pytest_configure(config):
    """One thread for each process of tests: two with two threads each wait for one another."""
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    """Spread files over processes; all that needs the finished workflow goes to one, and first."""
    for item in items:
        group = "finished" if "finished" in item.fixturenames else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: "finished" not in item.fixturenames)


class Checkout:
    """A copy of the workflow that a test may run and edit; its own package is what runs."""

    def __init__(self, folder, copy=True):
        self.folder = folder
        for part in PARTS if copy else ():
            source = ROOT / part
            duplicate = shutil.copytree if source.is_dir() else shutil.copy
            duplicate(source, folder / part)

    def run(self, *command, **environment):
        """Run a command of the environment in the checkout; return the completed process."""
        return subprocess.run(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=self.folder,
            env=os.environ
            | {"PYTHONPATH": str(self.folder / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
            | environment,
            capture_output=True,
            text=True,
        )

    def snakemake(self, *arguments, scale="smoke", **environment):
        """Run snakemake on both cores at a scale; ``key=value`` are settings of the config."""
        settings = [each for each in arguments if re.fullmatch(r"\w+=\w+", each)]
        rest = [each for each in arguments if each not in settings]
        chosen = ["--config", f"scale={scale}", *settings, "--cores", "2"]
        return self.run("snakemake", *chosen, *rest, **environment)

    def planned(self, *arguments):
        """Return the rules that a run would execute, with their number of jobs."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        counted = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        return {rule: int(count) for rule, count in counted if rule not in ("all", "total")}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which the whole smoke workflow has run once; tests leave it as it is."""
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


@pytest.fixture
def checkout(tmp_path):
    """A fresh checkout."""
    return Checkout(tmp_path)


def write_spec(folder, stage, told, **reads):
    """Write the spec of a job that no config plans; return the options that say where it is.

    Keywords are the paths of what it reads, by role.
    """
    modules = (f"collapse.stages.{stage}",)
    inputs = {
        role: {
            os.path.relpath(path, folder): stored_provenance(path).get("code", "") for path in of
        }
        for role, of in reads.items()
    }
    spec = Spec(stage, modules, told, code_digest(*modules), inputs, str(folder))
    spec.write(folder / f"{stage}.json")
    return ["--spec", str(folder / f"{stage}.json")]
