import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import collapse


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


TRAIN = ("collapse.stages.compute", "collapse.procedures.network.compute", "collapse.models.mlp")


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
        "theory/linear_head.py",
        "models/resnet18.py",
        "training/losses/ce.py",
        "probes/classifier.py",
        "procedures/network/measure.py",
        "cli.py",
        "config/planning.py",
        "data/sets/mnist.py",
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
