"""A notebook's page is the workflow's own, whatever the user has set up for notebooks."""

import json
import os
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest

from collapse.artifacts import write_digests
from collapse.errors import InputError
from collapse.specs import Spec
from collapse.stages import notebook


@pytest.fixture
def execute(tmp_path):
    """Return a function that executes cells and returns what they printed."""

    def run(*cells, figures=()):
        source = tmp_path / "own.ipynb"
        made = [nbformat.v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(cells)]
        written = nbformat.v4.new_notebook(cells=made)
        written.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "p"}
        nbformat.write(written, source)
        reads = {"claims": {}, "figures": dict.fromkeys(figures, "0")}
        spec = Spec("notebook", (), {}, "0", reads, str(tmp_path))
        files = {"notebook": str(tmp_path / "out.ipynb"), "html": str(tmp_path / "out.html")}
        notebook.run(Namespace(source=str(source), shown=[], spec=spec, **files))
        done = nbformat.read(files["notebook"], as_version=4)
        return "".join(out.get("text", "") for cell in done.cells for out in cell.outputs)

    return run


def test_kernels_startup_files_and_templates_of_the_user_have_no_say(
    execute, tmp_path, monkeypatch
):
    code = "import sys; print(sys.executable, 'LEFT' in globals())"
    plain, page = execute(code), (tmp_path / "out.html").read_text()
    assert plain == f"{sys.executable} False\n"
    own = tmp_path / "of the user"
    kernel = own / "kernels/python3"
    kernel.mkdir(parents=True)
    told = {"argv": ["/bin/false"], "display_name": "mine", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(told))
    template = own / "nbconvert/templates/lab"
    template.mkdir(parents=True)
    (template / "conf.json").write_text("{}")
    (template / "index.html.j2").write_text("nothing")
    startup = own / "profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text("LEFT = 1")
    (own / "profile_default/ipython_kernel_config.py").write_text("raise SystemExit(1)")
    (own / "startup.py").write_text("LEFT = 1")
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(own))
    monkeypatch.setenv("PYTHONSTARTUP", str(own / "startup.py"))
    # Where its connection would be noted.
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/proc/nowhere")
    assert execute(code) == plain
    assert (tmp_path / "out.html").read_text() == page


def test_commands_are_those_of_this_python_whatever_the_user_has_set_up_for_them(
    execute, tmp_path, monkeypatch
):
    (tmp_path / "start.sh").write_text("echo of the user")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "start.sh"))
    for name in ("SNAKEMAKE_PROFILE", "SNAKEMAKE_OUTPUT_CACHE", "SNAKEMAKE_CONDA_PREFIX"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("PATH", os.pathsep.join(("/usr/bin", "/bin")))
    said = execute("%%bash\nenv | grep SNAKEMAKE\ncommand -v snakemake collapse")
    beside = Path(sys.executable).parent
    assert said == f"{beside}/snakemake\n{beside}/collapse\n"


@pytest.mark.parametrize("last", ["pass", "1 / 0"])
def test_a_kernel_ends_with_its_notebook_and_takes_its_temporary_files_along(
    execute, tmp_path, monkeypatch, last
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with suppress(InputError):
        execute("import tempfile; kept = tempfile.TemporaryDirectory()", last)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "its kernel died"),
        ("1 / 0", "ZeroDivisionError"),
        ("%%bash\necho first >&2\necho reason >&2\nexit 3", r"exit status 3\. \(reason\)$"),
    ],
)
def test_a_cell_that_fails_or_kills_is_one_line_and_no_page(execute, tmp_path, cell, words):
    with pytest.raises(InputError, match=words) as caught:
        execute("print(1)", cell)
    assert "own.ipynb: " in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.glob("out.*"))


def test_a_figure_that_a_run_leaves_out_is_said_to_be(execute, tmp_path, monkeypatch):
    drawn = tmp_path / "figures/mine/here.png"
    drawn.parent.mkdir(parents=True)
    drawn.write_bytes(b"x")
    write_digests([drawn], {})
    cells = ["from collapse import showing", 'showing.figure("mine", "gone")']
    execute(*cells, figures=["figures/mine/here.png"])
    (cell,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[1:]
    assert "leaves out the experiments of the figure `gone`" in str(cell.outputs[0].data)
