import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import collapse
from collapse.provenance import _statements


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose sources a test may edit."""
    root = tmp_path / "collapse"
    shutil.copytree(Path(collapse.__file__).parent, root, ignore=shutil.ignore_patterns("*.pyc"))
    return root


def digest(root, *modules):
    """The code digest of modules, by a fresh Python that sees the copy."""
    return asked(root, f"code_digest(*{modules!r})")


def asked(root, call):
    """What a function of the copy's `provenance` returns, in a fresh Python."""
    program = f"from collapse.provenance import *; print({call})"
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


def test_docstrings_have_a_digest_of_their_own(copy):
    def found():
        return asked(copy, "docstring_digest('collapse.training.trainer', 'collapse.grid')")

    before, trainer, grid = found(), copy / "training" / "trainer.py", copy / "grid.py"
    text = trainer.read_text()
    trainer.write_text("# a comment\n" + text + "\nSPEED = 3\n")
    assert found() == before
    trainer.write_text(text.replace('"""', '"""Another word: ', 1))
    assert found() != before
    trainer.write_text(text)
    # Whose docstring it is counts, too.
    grid.write_text(grid.read_text().replace("def points", "def places", 1))
    assert found() != before


def test_the_modules_of_a_package_are_found_without_importing_them(copy):
    names = ast.literal_eval(asked(copy, "modules_in('collapse.procedures')"))
    paths = sorted((copy / "procedures").rglob("*.py"))
    assert len(names) == len(paths) and names[0] == "collapse.procedures"
    assert "collapse.procedures.network.compute" in names
    call = "modules_in('collapse.metrics') and 'torch' in __import__('sys').modules"
    assert asked(copy, call) == "False\n"


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


def test_every_byte_of_every_source_counts_for_the_package(copy):
    digests = [asked(copy, "package_digest()")]
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "cli.pyc").write_bytes(b"no source")
    assert asked(copy, "package_digest()") == digests[0]
    with (copy / "studies/deep_linear/geometry.py").open("a") as handle:
        handle.write("# A comment.\n")
    digests.append(asked(copy, "package_digest()"))
    (copy / "theory" / "new.py").touch()
    digests.append(asked(copy, "package_digest()"))
    (copy / "theory" / "new.py").rename(copy / "theory" / "newer.py")
    digests.append(asked(copy, "package_digest()"))
    assert len(set(digests)) == 4


def test_imports_and_docstrings_are_found_in_all_kinds_of_statements():
    text = """
if x:
    import a
elif y:
    for _ in z:
        import b
    else:
        import c
else:
    while x:
        with y:
            import d
try:
    import e
except ValueError:
    import f
else:
    import g
finally:
    import h
match x:
    case 1:
        import i
class K:
    async def f():
        def g():
            import j
"""
    found = [node for node in _statements(ast.parse(text)) if isinstance(node, ast.Import)]
    assert sorted(node.names[0].name for node in found) == list("abcdefghij")
