"""What regressions of every origin share: how rows are split, and which targets are refused."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from collapse.errors import InputError

Array = NDArray[np.float64]


def held_out(rows: int, share: float) -> NDArray[np.bool_]:
    """Return which rows are kept for testing: the share of them, as evenly spaced as can be.

    A row is kept where the share of the rows up to it reaches a whole number: of 1/5 each fifth.
    """
    # Rounded: the last bit of a product may miss the whole number.
    reached = np.floor(np.round(np.arange(rows + 1) * share, 9))
    return np.diff(reached) > 0


def split(inputs: Array, targets: Array, test: NDArray[np.bool_]) -> dict[str, Array]:
    """Return ``train_inputs``, ``train_targets`` and the same of ``test_``.

    Inputs are M x F, targets M x n; `test` says of each row whether it is for testing.
    """
    return {
        f"{part}_{kind}": values[rows]
        for part, rows in (("train", ~test), ("test", test))
        for kind, values in (("inputs", inputs), ("targets", targets))
    }


def check_targets(where: str, targets: Array, names: Sequence[str]) -> None:
    """Refuse targets, M x n, that are not finite or do not vary.

    Raises
    ------
    InputError
        Names the first target that is wrong.
    """
    for name, values in zip(names, targets.T, strict=True):
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(f"{where}: target {name!r} is {values[row]} in row {row}")
        if np.ptp(values) == 0:
            raise InputError(
                f"{where}: target {name!r} has zero variance, it is {values[0]:g} in every row; "
                "allowed are targets that vary"
            )
