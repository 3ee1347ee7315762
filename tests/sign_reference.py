"""Write the captions and digests of results/reference anew, keeping what determines the files."""

from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pandas as pd

from collapse.artifacts import digests_path, says_itself, stored_provenance, write_digests
from collapse.lineage import files_under
from collapse.stages.figure import caption

REFERENCE = Path(__file__).resolve().parents[1] / "results/reference"


def captions() -> Iterator[tuple[Path, str]]:
    """Yield the captions that are shipped, and what today's code says of the numbers beside them.

    Of a few figures the numbers are too many to be shipped.
    """
    for path in sorted((REFERENCE / "figures").glob("*/*.rst")):
        study, name, numbers = path.parent.name, path.stem, path.with_suffix(".csv")
        if numbers.is_file():
            module = import_module(f"collapse.studies.{study}.{name}")
            yield path, caption(study, name, module.findings(pd.read_csv(numbers)))


def main():
    for path, text in captions():
        path.write_text(text, encoding="utf-8", newline="\n")
    files = [path for path in files_under(REFERENCE) if path.suffix != ".json"]
    for digests, group in groupby((path for path in files if not says_itself(path)), digests_path):
        write_digests(list(group), stored_provenance(digests) if digests.is_file() else {})


if __name__ == "__main__":
    main()
