"""CIFAR-10 (Krizhevsky 2009): small colour photographs, read from the binary release."""

from collapse.data.kinds.files import Archive, Files
from collapse.data.layouts import cifar_binary

SET = Files(
    title="CIFAR-10",
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
    image_shape=(3, 32, 32),
    sources=("directory", "download"),
    layout=cifar_binary.read,
    # The ones in public circulation: in the Ruby port of torchvision, beside the archive's own.
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
    maximum=255,
    folders=("", "cifar-10-batches-bin"),
    archive=Archive(
        "cifar-10-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        pickled="cifar-10-batches-py",
    ),
)
