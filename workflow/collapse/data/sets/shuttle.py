"""Statlog (Shuttle) of UCI: a table of nine readings, imbalanced by nature."""

from collapse.data.kinds.files import DebianPackage, Files
from collapse.data.layouts import r_data_frame

SET = Files(
    title="Shuttle",
    classes=(
        "Rad Flow",
        "Fpv Close",
        "Fpv Open",
        "High",
        "Bypass",
        "Bpv Close",
        "Bpv Open",
    ),
    image_shape=(9, 1, 1),
    sources=("directory", "debian"),
    layout=r_data_frame.read,
    # Computed from the file itself.
    checksums={
        "Shuttle.rda": "f9d3d58df57332c5f7781162081c4a1169daa24afafc3b63fb729fefd81252aa",
    },
    # UCI's own split: its test set follows its training set in the file.
    train_count=43_500,
    test_count=14_500,
    maximum=1,
    debian=DebianPackage("r-cran-mlbench", "/usr/lib/R/site-library/mlbench/data"),
)
