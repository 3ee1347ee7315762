"""Data sets, one module each: whatever lies here is found by its name.

A new one needs nothing but its module. Its constant ``SET`` is of a kind of `collapse.data.kinds`;
for numbers that a function makes or another package holds, see `collapse.data.kinds.generated`.

The workflow's driver loads these modules to plan: what is slow to import is imported by the
functions that need it.
"""
