import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import collapse
from collapse import jobs, provenance
from collapse.config import load
from collapse.errors import InputError


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose sources a test may edit."""
    root = tmp_path / "collapse"
    shutil.copytree(Path(collapse.__file__).parent, root, ignore=shutil.ignore_patterns("*.pyc"))
    return root


def digest(root, *modules):
    """The code digest of modules, by a fresh Python that sees the copy."""
    program = f"from collapse.provenance import code_digest; print(code_digest(*{modules!r}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=root.parent,
        env={"PYTHONPATH": str(root.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


TRAIN = ("collapse.stages.train", "collapse.models.mlp")


def test_comments_and_docstrings_do_not_count_but_code_does(copy):
    trainer = copy / "training" / "trainer.py"
    before = digest(copy, *TRAIN)
    text = trainer.read_text()
    trainer.write_text("# a comment\n" + text.replace('"""', '"""Another word: ', 1))
    assert digest(copy, *TRAIN) == before
    trainer.write_text(text + "\nSPEED = 3\n")
    assert digest(copy, *TRAIN) != before


def test_training_does_not_depend_on_what_it_does_not_import(copy):
    before = digest(copy, *TRAIN)
    for name in (
        "plotting.py",
        "theory/deep_linear.py",
        "models/resnet18.py",
        "cli.py",
        "config.py",
    ):
        with (copy / name).open("a") as handle:
            handle.write("\nEDITED = True\n")
    assert digest(copy, *TRAIN) == before


def test_a_figure_does_not_touch_another_figure(copy):
    names = ("collapse.stages.figure", "collapse.studies.deep_linear.collapse_threshold")
    before = digest(copy, *names)
    with (copy / "studies/deep_linear/geometry.py").open("a") as handle:
        handle.write("\nEDITED = True\n")
    assert digest(copy, *names) == before


def test_modules_loaded_by_name_are_roots():
    atlas = load("config", {"scale": "smoke"})
    run = atlas.runs("deep_linear", "network_mlp")[0]
    spec = jobs.train(atlas, "deep_linear", "network_mlp", run.id)
    assert "collapse.models.mlp" in provenance.imported_modules(
        provenance.stage_modules("train", spec)
    )


def test_other_code_than_planned_is_refused():
    atlas = load("config", {"scale": "smoke"})
    spec = jobs.table(atlas, "deep_linear", "frames")
    provenance.check_expected("table", spec, provenance.stage_digest("table", spec))
    with pytest.raises(InputError, match="code changed"):
        provenance.check_expected("table", spec, "0123456789abcdef")
