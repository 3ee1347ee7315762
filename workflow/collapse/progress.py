"""How far a job is: a bar on a terminal, now and then a line in a log, and what status reads."""

import sys
import time

from tqdm import tqdm

from collapse import heartbeat

# A log of hours stays readable, and shows within seconds that a job is alive.
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Reports steps of one kind to standard error and to the job's heartbeat.

    `total` are all that there are, `done` those that an earlier process has done, `unit` what one
    is called; `since` is when the first was begun, by `time.monotonic`, by default now.
    """

    def __init__(
        self, total: int, done: int = 0, unit: str = "epoch", since: float | None = None
    ) -> None:
        self.total, self.unit = total, unit
        self._before = done
        self._start = time.monotonic() if since is None else since
        self._last = self._start
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, unit=unit, file=sys.stderr)

    def update(self, done: int, **values: float) -> None:
        """Report that so many steps are done, and numbers by name, such as the mean objective."""
        now = time.monotonic()
        # Of this process alone: the steps of an earlier one took other time.
        pace = (now - self._start) / max(done - self._before, 1)
        text = "  ".join(
            [
                f"{self.unit} {done}/{self.total}",
                *(f"{name} {value:.4g}" for name, value in values.items()),
                f"{_seconds(pace)}/{self.unit}",
                f"{tqdm.format_interval(pace * (self.total - done))} left",
            ]
        )
        heartbeat.say(progress=text)
        if self._bar is not None:
            shown = {name: f"{value:.3g}" for name, value in values.items()}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(done - self._bar.n)
        # The last step is always reported.
        elif now - self._last >= _SECONDS_BETWEEN_LINES or done >= self.total:
            self._last = now
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the report."""
        if self._bar is not None:
            self._bar.close()


def _seconds(value: float) -> str:
    """Return a time in a unit that shows its digits."""
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.2g} ms"
