"""How many problems a CPU core advances together."""

# What problems that advance together occupy at most: more leaves a core's share of the cache.
CHUNK_BYTES = 5_000_000


def chunks(batch: int, each: int) -> list[slice]:
    """Cut a batch into equal chunks that suit a core's cache, of a single problem where no two fit.

    `each` is the number of bytes of one problem's position and velocity.
    """
    count = -(-batch // max(1, CHUNK_BYTES // each))
    # Equal sizes: after full chunks a small rest would leave cores waiting for one another.
    size = -(-batch // count)
    return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]
