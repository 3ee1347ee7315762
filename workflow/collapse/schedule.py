"""When to record: log-spaced steps, shared by the solver and the network trainer."""

from collapse.errors import InputError


def log_spaced(last: int, count: int, first: int = 1) -> tuple[int, ...]:
    """Return step 0 followed by log-spaced steps from `first` to `last`, strictly increasing.

    Neighbouring steps keep a constant ratio as closely as distinct integers allow:
    where the ratio asks for less than one step, the steps are consecutive and the
    points saved there are spread over the rest. Besides step 0, the state before any step, there
    are `count`; fewer only when there are fewer integers from `first` to `last`, which is always
    included.

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
        # A single step has no ratio: it is the last, not the first.
        return (0, last)
    steps = [first]
    while steps[-1] < last:
        remaining = max(count - len(steps), 1)
        # The ratio that reaches `last` in the steps left, found anew after each rounding.
        ideal = steps[-1] * (last / steps[-1]) ** (1 / remaining)
        # One step on at least, where the ratio asks for less; the end at most.
        steps.append(min(max(steps[-1] + 1, round(ideal)), last))
    return (0, *steps)
