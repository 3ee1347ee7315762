"""Where data sets come from, the blocks of ``datasets``: one module for each kind of data set.

A block has no key ``kind``: the data set knows its own, and a block with a table is a table's.
"""

from typing import Any

from collapse.config.section import Section
from collapse.data.catalogue import DataSet
from collapse.errors import InputError

IMPLEMENTATIONS = "collapse.data.makers"


class SourceKind(Section):
    """Base of the sections of data sets' sources: what the jobs of a data set are told."""

    def spec(self, name: str, data_set: DataSet) -> dict[str, Any]:
        """Return what the data job is told, but for the file that it may read."""
        return {"name": name, "kind": data_set.source, **self.told(data_set)}

    def told(self, data_set: DataSet) -> dict[str, Any]:
        """Return what the data job is told beside name and kind."""
        return {}

    def source_file(self, name: str, data_set: DataSet, results: str, home: str) -> list[str]:
        """Return the file that the data set is made from, if it is one.

        Policies that were searched lie in `results`, those that this project ships in its own
        folder, `home`.

        Raises
        ------
        InputError
            If it is the user's and does not exist.
        """
        return []

    def policy_spec(self, name: str, data_set: DataSet) -> dict[str, Any]:
        """Return what the search for its policy is told.

        Raises
        ------
        InputError
            If none is searched.
        """
        raise InputError(f"policies: no policy is searched for '{name}'")
