"""Data sets are found by their modules, and each depends on its own code alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import collapse
from collapse.config.slots import kinds
from collapse.data import sets
from collapse.data.catalogue import DataSet, Table, find, modules, names
from collapse.data.dataset import load
from collapse.data.kinds.files import Files
from collapse.errors import InputError
from collapse.provenance import code_digest, imported_modules
from collapse.stages import data as stage
from conftest import run_stage


def test_data_sets_are_found_by_their_modules():
    folder = Path(sets.__file__).parent
    assert names() == sorted(path.stem for path in folder.glob("[a-z]*.py"))
    assert len({find(name).title for name in names()}) == len(names())
    pictures = {name for name in names() if find(name).images}
    assert pictures == {"fashion_mnist", "mnist", "cifar10", "cifar100", "digits"}
    classified = {name for name in names() if not find(name).regression}
    assert classified == pictures | {"shuttle", "bible", "grammar", "grammar_512"}
    own = Table(title="mine")
    assert own.regression and not own.images


def test_finding_data_sets_loads_nothing_heavy():
    program = (
        "import sys; from collapse.data.catalogue import find, names; "
        "found = [find(name) for name in names()]; "
        "heavy = {'torch', 'sklearn', 'gymnasium', 'pydantic', 'pandas'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_data_set_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no data set 'fashion_mnst', did you mean 'fashion_mnis"):
        find("fashion_mnst")
    with pytest.raises(
        InputError, match=r"no data set 'x' \(there are: bible, cifar10, cifar100, diab"
    ):
        find("x")


@pytest.mark.parametrize("name", names())
def test_a_data_set_depends_on_the_code_that_makes_it_alone(name):
    own = modules(find(name).source, name)
    found = imported_modules(["collapse.stages.data", *own])
    of_sets = ("collapse.data.sets.", "collapse.data.makers.", "collapse.data.kinds.")
    # A kind that is another with a change follows that one.
    kinds_of = [each for each in type(find(name)).__mro__ if "source" in vars(each)]
    of_kinds = [each.__module__ for each in kinds_of if each is not DataSet]
    of_makers = [f"collapse.data.makers.{each.source}" for each in kinds_of if each is not DataSet]
    allowed = {*own, *of_kinds, *of_makers}
    # One that is another's with a change follows that one's.
    if expert := getattr(find(name), "expert", None):
        allowed.add(f"collapse.data.sets.{expert}")
    assert {module for module in found if module.startswith(of_sets)} == allowed
    layouts = [module for module in found if module.startswith("collapse.data.layouts.")]
    assert len(layouts) == isinstance(find(name), Files)


def test_a_table_of_the_users_has_no_module():
    assert modules("table", "mine") == ("collapse.data.makers.table",)


@pytest.mark.parametrize("name", names())
def test_the_config_need_not_mention_a_data_set(name):
    wanted = find(name)
    section = kinds("source")[wanted.source].model_validate({})
    told = section.spec(name, wanted)
    assert (told["name"], told["kind"]) == (name, wanted.source)
    assert told.get("sources") == (list(wanted.sources) if isinstance(wanted, Files) else None)
    files = section.source_file(name, wanted, "results", "home")
    searched = {"hopper", "swimmer"} & {getattr(wanted, "expert", None) or name}
    assert files == [f"home/workflow/policies/{each}.safetensors" for each in searched]


def test_sources_that_the_config_names():
    files, made = (kinds("source")[kind] for kind in ("files", "generated"))
    chosen = files.model_validate({"sources": ["download"], "directory": "here"})
    told = {"name": "mnist", "kind": "files", "sources": ["download"], "directory": "here"}
    assert chosen.spec("mnist", find("mnist")) == told
    section = made.model_validate({"sources": ["package"]})
    assert section.spec("linnerud", find("linnerud")) == {"name": "linnerud", "kind": "generated"}


WAVE = '''"""A wave."""

import numpy as np

from collapse.data.kinds.generated import Generated


def load():
    places = np.linspace(0, 1, 50)[:, None]
    return places, np.hstack([np.sin(9 * places), np.cos(9 * places)])


SET = Generated(title="Wave", inputs=("place",), targets=("sine", "cosine"), load=load)
'''


@pytest.fixture
def dropped(tmp_path, monkeypatch):
    """Writes a module into a folder where data sets are looked for."""
    folder = tmp_path / "sets"
    folder.mkdir()
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(folder)])

    def write(name, text):
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"{sets.__name__}.{name}", raising=False)

    return write


def test_a_module_that_is_dropped_in_is_found_and_made(dropped, tmp_path):
    dropped("wave", WAVE)
    assert "wave" in names() and find("wave").title == "Wave"
    run_stage(stage, tmp_path / "wave.safetensors", name="wave", kind=find("wave").source)
    data = load(tmp_path / "wave.safetensors")
    assert data.outputs == ("sine", "cosine")
    assert data.inputs.shape == (40, 1, 1, 1) and data.test_targets.shape == (10, 2)
    assert data.test_inputs.ravel() == pytest.approx(np.linspace(0, 1, 50)[4::5])
    assert data.test_targets[:, 0] == pytest.approx(np.sin(9 * data.test_inputs.ravel()))


@pytest.mark.parametrize("text", ["", "SET = 'wave'"])
def test_a_module_that_says_nothing_is_refused(dropped, text):
    dropped("silent", text)
    with pytest.raises(InputError, match=r"sets/silent.py: SET is .*, needed is a DataSet"):
        find("silent")


def test_a_module_that_is_dropped_in_changes_no_other_digest(tmp_path):
    package = tmp_path / "collapse"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(collapse.__file__).parent, package, ignore=ignored)
    roots = ("collapse.stages.data", *modules("files", "digits"))
    (package / "data/sets/wave.py").write_text(WAVE)
    with (package / "data/sets/mnist.py").open("a") as handle:
        handle.write("EDITED = True\n")
    program = (
        "from collapse.data.catalogue import find, modules; "
        "from collapse.provenance import code_digest; "
        f"code_digest(*modules(find('wave').source, 'wave')); print(code_digest(*{roots!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == code_digest(*roots)
