"""CIFAR-100 (Krizhevsky 2009): small colour photographs under fine labels, the binary release."""

from collapse.data.kinds.files import Archive, Files
from collapse.data.layouts import cifar_binary

# In the order of the release's fine_label_names.txt.
_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

SET = Files(
    title="CIFAR-100",
    classes=tuple(_CLASSES.split()),
    image_shape=(3, 32, 32),
    sources=("directory", "download"),
    layout=cifar_binary.read_fine,
    # The ones in public circulation: in the Ruby port of torchvision, beside the archive's own.
    checksums={
        "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    },
    train_count=50_000,
    test_count=10_000,
    maximum=255,
    folders=("", "cifar-100-binary"),
    archive=Archive(
        "cifar-100-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        pickled="cifar-100-python",
    ),
)
