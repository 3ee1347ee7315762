"""Execute a notebook and write it with its outputs, as notebook and as a web page."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

# Behind the check of a notebook's form is a grammar of addresses in all scripts, a second to build,
# which nothing asks for; where it is not installed it is left out.
sys.modules.setdefault("rfc3987_syntax", None)

import nbformat  # noqa: E402
from ipykernel.kernelspec import make_ipkernel_cmd  # noqa: E402
from jupyter_client import AsyncKernelManager  # noqa: E402
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError, DeadKernelError  # noqa: E402

from collapse.artifacts import replacing, verified, write_digests  # noqa: E402
from collapse.errors import InputError  # noqa: E402
from collapse.notebook_page import page  # noqa: E402

_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")
# The name of a styled table, which its cells and rules begin with.
_TABLE = re.compile(r"\bT_[0-9a-f]{5}(?=[_\"\s])")
# Where kernels, pages' templates, settings and startup files of the user's are looked for.
_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
# Of Snakemake a profile that sends jobs to a cluster, a cache of results, a folder of environments:
# what an example's commands make is made anew, where the notebook is executed.
_OTHERS = re.compile("JUPYTER_PATH|PYTHONSTARTUP|BASH_ENV|SNAKEMAKE_.*")


class _OwnPython(KernelSpecManager):
    """Gives this Python as the kernel, whatever kernels the user has under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = make_ipkernel_cmd(executable=sys.executable)
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("source", metavar="FILE", help="notebook to execute, in its folder")
    parser.add_argument("shown", metavar="SHOWN", nargs="*", help="files that it shows")
    parser.add_argument("--notebook", required=True, metavar="FILE", help="ipynb to write")
    parser.add_argument("--html", required=True, metavar="FILE", help="web page to write")


def run(args: argparse.Namespace) -> None:
    """Execute the notebook; a cell that fails ends it with the cell's error."""
    # Tables are checked as the notebook reads them; of pictures it shows all without a look.
    for path in (path for role in ("claims", "figures") for path in args.spec.reads.get(role, ())):
        verified(path)
    notebook = nbformat.read(args.source, as_version=4)
    with _nothing_of_the_users():
        _execute(notebook, args.source, args.spec.results, args.spec.reads.get("figures", ()))
        html = page(notebook, f"Collapse Atlas: {Path(args.source).stem}")
    with replacing(args.notebook) as temporary:
        nbformat.write(notebook, temporary)
    with replacing(args.html) as temporary:
        temporary.write_text(html, encoding="utf-8")
    sources = [args.source, *args.shown]
    write_digests((args.notebook, args.html), args.spec.provenance(sources=sources))


@contextmanager
def _nothing_of_the_users() -> Iterator[None]:
    """Hide what the user may have set up: the same page comes out everywhere.

    For notebooks, and for the commands in their cells, which are those beside this Python.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="collapse-notebook-") as folder:
        os.environ.update(dict.fromkeys(_FOLDERS, folder))
        for name in filter(_OTHERS.fullmatch, before):
            del os.environ[name]
        beside = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([beside, *os.get_exec_path()])
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _execute(
    notebook: nbformat.NotebookNode, source: str, results: str, figures: Collection[str]
) -> None:
    """Execute a notebook in its folder and keep its outputs in it.

    `figures` are those that this run draws of what the notebook may show.

    Raises
    ------
    InputError
        If a cell fails or the kernel dies.
    """
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_OwnPython())
    client = NotebookClient(
        notebook,
        km=manager,
        resources={"metadata": {"path": str(Path(source).parent)}},
        # Those of the cells would differ from one execution to the next.
        record_timing=False,
    )
    # The kernel starts in the notebook's folder, from where a relative path leads elsewhere.
    environment = os.environ | {"COLLAPSE_RESULTS": str(Path(results).resolve())}
    if figures:
        # An older picture of one that is left out may still lie there.
        names = dict.fromkeys(Path(path).stem for path in figures)
        environment["COLLAPSE_FIGURES"] = os.pathsep.join(names)
    try:
        # A kernel that the client did not make it would leave to die, with its temporary files.
        client.execute(env=environment, cleanup_kc=True)
    except CellExecutionError as error:
        said = _complaint(notebook)
        raise InputError(f"{source}: {error.ename}: {error.evalue}{said}") from error
    # The latter where it dies before it answers.
    except (DeadKernelError, RuntimeError) as error:
        raise InputError(
            f"{source}: its kernel died, killed perhaps for want of memory ({error})"
        ) from None
    _name_tables(notebook)


def _complaint(notebook: nbformat.NotebookNode) -> str:
    """Return the last line that the cell which failed wrote to stderr: why its command ended."""
    failed = (
        cell.outputs
        for cell in notebook.cells
        if any(output.output_type == "error" for output in cell.get("outputs", ()))
    )
    text = "".join(output.text for output in next(failed, ()) if output.get("name") == "stderr")
    lines = [line for line in text.splitlines() if line.strip()]
    return f" ({lines[-1].strip()})" if lines else ""


def _name_tables(notebook: nbformat.NotebookNode) -> None:
    """Name styled tables by their place: pandas draws their names, and Python prints an address."""
    names: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = _TABLE.sub(
                    lambda found: names.setdefault(found[0], f"T_{len(names):05d}"),
                    data["text/html"],
                )
            if "text/plain" in data:
                data["text/plain"] = _ADDRESS.sub(">", data["text/plain"])
