"""Data sets that a function of their own module makes, or takes from another package.

A module of `collapse.data.sets` is as short as this::

    def load():
        import numpy as np

        places = np.linspace(0, 1, 500)[:, None]
        return places, np.hstack([np.sin(9 * places), np.cos(9 * places)])


    SET = Generated(title="Wave", inputs=("place",), targets=("sine", "cosine"), load=load)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collapse.data.catalogue import DataSet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Generated(DataSet):
    """A data set that a function makes: a regression, or labelled samples if there are classes.

    Attributes
    ----------
    load
        Returns inputs and targets, the same ones whenever it is called: M x F and M x n; with
        classes N x F or N x C x H x W, and N labels from 0 to K - 1.
    inputs, targets
        Of a regression: names of its F inputs and n targets.
    test_share
        Share of the samples kept for testing, evenly spaced.
    origin
        Where it comes from, for its file.
    train_count
        Samples that are trained on; what jobs ask for follows from it.
    """

    source: ClassVar[str] = "generated"

    load: Callable[[], "tuple[ArrayLike, ArrayLike]"]
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    test_share: float = 0.2
    origin: str = "generated"
    train_count: int | None = None
