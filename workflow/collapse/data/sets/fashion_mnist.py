"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): articles of clothing."""

from collapse.data.kinds.files import DebianPackage, Files
from collapse.data.layouts import idx

SET = Files(
    title="Fashion-MNIST",
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
    image_shape=(1, 28, 28),
    sources=("directory", "debian", "download"),
    layout=idx.read,
    # Computed from the files themselves.
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
    maximum=255,
    folders=("", "FashionMNIST/raw", "raw"),
    debian=DebianPackage("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"),
    torchvision="FashionMNIST",
)
