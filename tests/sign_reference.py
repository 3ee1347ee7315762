"""Write the digests of the files in results/reference anew, keeping what determines them."""

from itertools import groupby
from pathlib import Path

from collapse.artifacts import digests_path, says_itself, stored_provenance, write_digests
from collapse.lineage import files_under

REFERENCE = Path(__file__).resolve().parents[1] / "results/reference"


def main():
    files = [path for path in files_under(REFERENCE) if path.suffix != ".json"]
    for digests, group in groupby((path for path in files if not says_itself(path)), digests_path):
        write_digests(list(group), stored_provenance(digests) if digests.is_file() else {})


if __name__ == "__main__":
    main()
