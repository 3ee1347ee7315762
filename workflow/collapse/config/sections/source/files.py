"""Data sets in official files."""

from typing import Any, Literal

from pydantic import Field

from collapse.config.section import FilePath
from collapse.config.sections.source import SourceKind
from collapse.data.kinds.files import Files


class Section(SourceKind):
    """Where a data set's official files are looked for."""

    sources: list[Literal["directory", "debian", "download", "package"]] | None = Field(
        None,
        min_length=1,
        description="Sources in the order they are tried, the first that answers; null for the "
        "data set's own order.",
    )
    directory: FilePath | None = Field(
        None, description="Folder that holds the data set's official files (source `directory`)."
    )

    def told(self, data_set: Files) -> dict[str, Any]:
        """Return the sources in the order they are tried, and the folder of the user's."""
        sources = self.sources or list(data_set.sources)
        return {"sources": sources, "directory": self.directory}
