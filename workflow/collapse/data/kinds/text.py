"""A text in official files, whose words are its tokens."""

from dataclasses import dataclass
from typing import ClassVar

from collapse.data.kinds.files import Files


@dataclass(frozen=True, kw_only=True)
class Text(Files):
    """A text in official files: its samples are positions, labelled with the token that follows.

    The `layout` returns its documents in order, each a list of tokens; every `held_out`-th of them
    is for testing. Classes are the tokens by their frequency, which are known once it is read.

    Attributes
    ----------
    vocabulary
        How many different tokens the training documents hold.
    held_out
        Every how manieth document is held out.
    """

    source: ClassVar[str] = "text"

    vocabulary: int
    held_out: int = 10
    maximum: int = 1

    @property
    def regression(self) -> bool:
        """Whether its targets are real numbers: they are tokens."""
        return False
