"""A toy."""

from collapse.studies import Plot, Study

STUDY = Study(
    paper="A toy",
    objective="see collapse.theory.relu_toy",
    figures={"descent": Plot(reads=("descent",), caption="Loss and features of a toy.")},
    axes=(),
    claims_read=("descent",),
)
