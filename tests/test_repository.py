"""What the repository promises about itself."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import torch
import yaml
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def test_the_conda_environment_has_the_locked_versions():
    lock = (ROOT / "envs/requirements.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9_.-]+==[^\s;\\]+)", lock, re.MULTILINE))
    conda = yaml.safe_load((ROOT / "envs/environment.yaml").read_text())["dependencies"]
    names = {"pytorch": "torch", "mujoco-python": "mujoco"}
    pairs = [entry.split("=") for entry in conda if not entry.startswith("python=")]
    wanted = {f"{names.get(name, name)}=={version}" for name, version in pairs}
    assert wanted and wanted <= locked


def test_the_notebook_is_committed_without_outputs():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, 4).cells
        assert all(not cell.get("outputs") for cell in cells), path
        nbformat.validate(nbformat.read(path, 4))


def test_a_moved_checkout_sets_its_environment_up_anew(tmp_path):
    folder = tmp_path / "a checkout"
    for name in ("Makefile", "pyproject.toml", "envs/requirements.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)

    def planned():
        command = ["make", "--dry-run", ".venv/installed"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout

    assert "pip install" in planned() and "rm -rf" not in planned()
    (folder / ".venv").mkdir()
    # What the last line of the rule writes.
    (folder / ".venv/installed").write_text(f"{folder.resolve()}\n")
    assert "pip install" not in planned()
    folder = folder.rename(tmp_path / "moved")
    assert 0 <= planned().find("rm -rf .venv\n") < planned().find("pip install")


def test_every_public_module_says_what_it_is():
    for path in (ROOT / "workflow/collapse").rglob("*.py"):
        assert path.read_text().lstrip().startswith('"""'), path


@pytest.mark.parametrize(
    "module", ["figure", "picture", "claims", "table", "predictions", "list", "data"]
)
def test_stages_that_need_no_torch_do_not_import_it(module):
    program = (
        f"import sys, collapse.stages.{module}, collapse.studies.deep_linear.claims, "
        "collapse.studies.deep_linear.geometry; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Imported under other names than they are installed by, if at all.
MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn", "snakemake-executor-plugin-slurm": None}
LIBRARY_ALONE = """
import sys
for name in {missing}:
    sys.modules[name] = None
from collapse.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_extras(*command):
    """Run a command of the package as if the library were installed alone."""
    extras = EXTRAS["optional-dependencies"]
    names = [re.match(r"[\w-]+", each)[0] for key in extras for each in extras[key]]
    missing = {MODULES.get(name, name.replace("-", "_")) for name in names} - {None}
    # pytest's own process needs some; this one must not.
    program = LIBRARY_ALONE.format(missing=sorted(missing))
    call = [sys.executable, "-c", program, *map(str, command)]
    return subprocess.run(call, capture_output=True, text=True)


def test_the_library_alone_predicts_and_measures(tmp_path):
    depends = [re.match(r"\w+", each)[0] for each in EXTRAS["dependencies"]]
    assert sorted(depends) == ["numpy", "safetensors", "scipy", "torch", "tqdm"]
    path = tmp_path / "features.safetensors"
    labels = torch.arange(3).repeat(4)
    save_file({"features": torch.randn(12, 5), "labels": labels}, path)
    done = without_extras("measure", path)
    assert done.returncode == 0 and '"NC1"' in done.stdout, done.stderr
    done = without_extras("predict", "deep_linear", "--help")
    assert done.returncode == 0 and done.stdout, done.stderr
    done = without_extras("list", "claims")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "list: needs the package" in done.stderr and "pip install" in done.stderr


@pytest.mark.parametrize(
    "command", [["--help"], ["predict", "deep_linear", "--help"], ["measure", "--help"]]
)
def test_help_is_printed(command):
    done = subprocess.run([BIN / "collapse", *command], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) > 8


@pytest.mark.parametrize("watched", [False, True])
def test_a_command_ends_once_all_is_written_and_said(watched):
    before = "atexit.register(print, 'last', file=sys.stderr); " if watched else ""
    program = (
        f"import atexit, sys; from collapse import cli; {before}"
        "cli._run = lambda words: atexit.register(print, 'late') and print('x' * 70_000) or 3; "
        "sys.exit(cli.main())"
    )
    # Not a terminal: what is printed waits in a buffer.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # A tool that watches the process has registered before the command.
    assert (done.returncode, done.stderr) == (3, "last\n" if watched else "")
    assert done.stdout == "x" * 70_000 + "\nlate\n"
    if watched:
        return
    if not Path("/dev/full").exists():
        return
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BIN / "collapse", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode != 0 and "No space left" in done.stderr


def test_the_reference_results_are_those_that_were_signed():
    done = subprocess.run(
        [BIN / "collapse", "verify", str(ROOT / "results/reference")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
