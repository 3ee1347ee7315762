"""The King James Bible as Debian's bible-kjv-text holds it: words and marks in order."""

from collapse.data.kinds.files import DebianPackage
from collapse.data.kinds.text import Text
from collapse.data.layouts import bible_data

SET = Text(
    title="King James Bible",
    sources=("directory", "debian"),
    layout=bible_data.read,
    # Computed from the file itself.
    checksums={
        "bible.data": "6c746c2acc8a34bfded980883ff1701a5d68934a1c853ebf88a07b978fe0ae0e",
    },
    # Chapters; of ten the last is held out.
    train_count=853_407,
    test_count=91_170,
    vocabulary=12_337,
    debian=DebianPackage("bible-kjv-text", "/usr/lib"),
)
