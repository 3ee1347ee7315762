"""Texts in official files."""

from collapse.config.sections.source import files


class Section(files.Section):
    """Where a text's official files are looked for."""
