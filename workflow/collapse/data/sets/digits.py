"""The handwritten digits that scikit-learn holds, 8 x 8 pixels."""

from collapse.data.kinds.files import Files
from collapse.data.layouts import digits_csv

SET = Files(
    title="digits (8x8)",
    classes=tuple("0123456789"),
    image_shape=(1, 8, 8),
    sources=("package",),
    layout=digits_csv.read,
    # Computed from the file itself.
    checksums={
        "digits.csv": "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
    },
    train_count=1_442,
    test_count=355,
    maximum=16,
    module="sklearn.datasets.data",
)
