"""Data sets: where they come from, how they are verified, and how they are read.

`collapse.data.fetch` turns a data set's official files into verified arrays, and
`collapse.data.dataset` reads the arrays back. They are imported from their modules, so that the
code that trains does not depend on the code that downloads.
"""
