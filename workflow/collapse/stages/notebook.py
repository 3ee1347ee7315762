"""Execute a study's notebook and write it with its outputs, as notebook and as a web page."""

import argparse
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from collapse.artifacts import replacing, verified, write_digests
from collapse.errors import InputError

_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")
# The name of a styled table, which its cells and rules begin with.
_TABLE = re.compile(r"\bT_[0-9a-f]{5}(?=[_\"\s])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("source", metavar="FILE", help="notebook to execute, in its folder")
    parser.add_argument("--notebook", required=True, metavar="FILE", help="ipynb to write")
    parser.add_argument("--html", required=True, metavar="FILE", help="web page to write")


def run(args: argparse.Namespace) -> None:
    """Execute the notebook; a cell that fails ends it with the cell's error."""
    # Tables are checked as the notebook reads them; of pictures it shows all without a look.
    for path in (*args.spec.reads["claims"], *args.spec.reads["figures"]):
        verified(path)
    notebook = nbformat.read(args.source, as_version=4)
    resources = {"metadata": {"path": str(Path(args.source).parent)}}
    # The kernel starts in the notebook's folder, from where a relative path leads elsewhere.
    environment = os.environ | {"COLLAPSE_RESULTS": str(Path(args.spec.results).resolve())}
    try:
        # Without the times of the cells, which would differ from one execution to the next.
        client = NotebookClient(notebook, resources=resources, record_timing=False)
        client.execute(env=environment)
    except CellExecutionError as error:
        raise InputError(f"{args.source}: {error.ename}: {error.evalue}") from error
    _name_tables(notebook)
    with replacing(args.notebook) as temporary:
        nbformat.write(notebook, temporary)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    with replacing(args.html) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_digests((args.notebook, args.html), args.spec.provenance(sources=[args.source]))


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
