"""The data sets that can be had: their files, checksums, sizes and classes.

Checksums are of the decompressed files, since the same file is compressed in more than one way.
Those of Fashion-MNIST, the digits and Shuttle were computed from the files themselves; those of
MNIST and of CIFAR-10's binary release are the ones in public circulation (for CIFAR-10: in the
Ruby port of torchvision, beside the archive's own sum).
"""

from collections.abc import Mapping
from dataclasses import dataclass


class SourceError(Exception):
    """Why a source could not give a data set, in one line; the next source is tried."""


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package and the folder that holds the files once it is installed."""

    name: str
    folder: str


@dataclass(frozen=True)
class Archive:
    """A tar.gz that holds all files of a data set, and its published md5.

    `pickled` is the folder of another release of the same data that is never read, since
    unpickling runs code.
    """

    name: str
    url: str
    md5: str
    pickled: str


@dataclass(frozen=True)
class Entry:
    """What is known of a data set.

    Attributes
    ----------
    layout
        How the files are read, a key of `collapse.data.formats.LAYOUTS`.
    checksums
        Name and sha256 of every file, decompressed.
    train_count, test_count
        Samples in the training and in the test set.
    image_shape
        Channels, height, width; F x 1 x 1 for a table of F features.
    maximum
        The pixel value that stands for 1; 1 for a table.
    classes
        Class names in label order.
    folders
        Where, inside the configured directory, the files may lie.
    debian, torchvision, archive, module
        The sources beside a local directory: a Debian package, the class of
        ``torchvision.datasets`` that names the official downloads, a single official archive,
        and the installed Python module whose folder holds the files. None where there is none.
    """

    layout: str
    checksums: Mapping[str, str]
    train_count: int
    test_count: int
    image_shape: tuple[int, int, int]
    maximum: int
    classes: tuple[str, ...]
    folders: tuple[str, ...] = ("",)
    debian: DebianPackage | None = None
    torchvision: str | None = None
    archive: Archive | None = None
    module: str | None = None


DATA_SETS: dict[str, Entry] = {
    "fashion_mnist": Entry(
        layout="idx",
        checksums={
            "train-images-idx3-ubyte": (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
            ),
            "train-labels-idx1-ubyte": (
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
            ),
            "t10k-images-idx3-ubyte": (
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            "t10k-labels-idx1-ubyte": (
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
            ),
        },
        train_count=60_000,
        test_count=10_000,
        image_shape=(1, 28, 28),
        maximum=255,
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        folders=("", "FashionMNIST/raw", "raw"),
        debian=DebianPackage("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"),
        torchvision="FashionMNIST",
    ),
    "mnist": Entry(
        layout="idx",
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
        image_shape=(1, 28, 28),
        maximum=255,
        classes=tuple("0123456789"),
        folders=("", "MNIST/raw", "raw"),
        torchvision="MNIST",
    ),
    "cifar10": Entry(
        layout="cifar_binary",
        checksums={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        train_count=50_000,
        test_count=10_000,
        image_shape=(3, 32, 32),
        maximum=255,
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        folders=("", "cifar-10-batches-bin"),
        archive=Archive(
            "cifar-10-binary.tar.gz",
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            pickled="cifar-10-batches-py",
        ),
    ),
    "digits": Entry(
        layout="digits_csv",
        checksums={
            "digits.csv": "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
        },
        train_count=1_442,
        test_count=355,
        image_shape=(1, 8, 8),
        maximum=16,
        classes=tuple("0123456789"),
        module="sklearn.datasets.data",
    ),
    "shuttle": Entry(
        layout="r_data_frame",
        checksums={
            "Shuttle.rda": "f9d3d58df57332c5f7781162081c4a1169daa24afafc3b63fb729fefd81252aa",
        },
        # UCI's own split: its test set follows its training set in the file.
        train_count=43_500,
        test_count=14_500,
        image_shape=(9, 1, 1),
        maximum=1,
        classes=(
            "Rad Flow",
            "Fpv Close",
            "Fpv Open",
            "High",
            "Bypass",
            "Bpv Close",
            "Bpv Open",
        ),
        debian=DebianPackage("r-cran-mlbench", "/usr/lib/R/site-library/mlbench/data"),
    ),
}


PACKAGE_TABLES = ("linnerud", "diabetes")
"""Regressions that scikit-learn holds: inputs and real targets, instantly there."""
