"""MNIST (LeCun et al. 1998): handwritten digits."""

from collapse.data.kinds.files import Files
from collapse.data.layouts import idx

SET = Files(
    title="MNIST",
    classes=tuple("0123456789"),
    image_shape=(1, 28, 28),
    sources=("directory", "download"),
    layout=idx.read,
    # The ones in public circulation.
    checksums={
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    train_count=60_000,
    test_count=10_000,
    maximum=255,
    folders=("", "MNIST/raw", "raw"),
    torchvision="MNIST",
)
