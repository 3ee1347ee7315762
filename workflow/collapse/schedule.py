"""When to record: log-spaced steps, shared by the solver and the network trainer."""

from collapse.errors import InputError


def log_spaced(last: int, count: int, first: int = 1) -> tuple[int, ...]:
    """Return step 0 followed by log-spaced steps from `first` to `last`.

    Neighbouring steps keep a constant ratio as closely as distinct integers allow:
    where the ratio asks for less than one step, the steps are consecutive and the
    points saved there are spread over the rest.

    Parameters
    ----------
    last : int
        The last step, always included.
    count : int
        How many steps to return besides step 0; fewer only when there are fewer
        integers from `first` to `last`.
    first : int
        The first step after 0.

    Returns
    -------
    tuple of int
        Strictly increasing; element 0 is 0, the state before any step.

    Raises
    ------
    InputError
        If not 1 <= first <= last or count < 1.
    """
    if not 1 <= first <= last:
        raise InputError(f"log_spaced: first={first}, last={last}; need 1 <= first <= last")
    if count < 1:
        raise InputError(f"log_spaced: count={count}; need at least 1")
    if count == 1:
        return (0, last)
    steps = [first]
    while steps[-1] < last:
        left = max(count - len(steps), 1)
        ideal = steps[-1] * (last / steps[-1]) ** (1 / left)
        steps.append(min(max(steps[-1] + 1, round(ideal)), last))
    return (0, *steps)
