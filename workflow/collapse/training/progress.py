"""Progress of a training: a bar on a terminal, now and then a line in a log."""

import sys
import time

from tqdm import tqdm

# A log of hours stays readable, and shows within seconds that a job is alive.
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Reports epochs to standard error.

    `epochs` are all there are, `done` those that an earlier process has done.
    """

    def __init__(self, epochs: int, done: int = 0) -> None:
        self._epochs, self._done = epochs, done
        self._start = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=epochs, initial=done, unit="epoch", file=sys.stderr)

    def update(self, epoch: int, loss: float, error: float) -> None:
        """Report a finished epoch, its mean objective and its training error."""
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.3g}", error=f"{error:.3g}", refresh=False)
            self._bar.update(epoch - self._bar.n)
            return
        now = time.monotonic()
        # The last epoch is always reported.
        if now - self._last < _SECONDS_BETWEEN_LINES and epoch < self._epochs:
            return
        self._last = now
        # Of this process alone: the epochs of an earlier one took other time.
        pace = (now - self._start) / (epoch - self._done)
        print(
            f"epoch {epoch}/{self._epochs}  loss {loss:.4g}  error {error:.4g}  "
            f"{pace:.2f} s/epoch  {tqdm.format_interval(pace * (self._epochs - epoch))} left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """End the report."""
        if self._bar is not None:
            self._bar.close()
