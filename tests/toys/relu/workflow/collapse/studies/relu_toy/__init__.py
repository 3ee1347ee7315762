"""A toy."""

from collapse.studies import Figure, Study

STUDY = Study(
    paper="A toy",
    objective="see collapse.theory.relu_toy",
    figures={"descent": Figure(reads=("descent",), caption="Loss and features of a toy.")},
    axes=(),
    claims_read=("descent",),
)
