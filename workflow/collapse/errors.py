"""The one exception that ends a command with a single line and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 2000


class InputError(Exception):
    """Bad input from outside: a config, a data set, a features file or a command line.

    The message is one line that names the file, the key or tensor, what was found
    and what is allowed. The command line prints it without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(_on_one_line(str(message))))


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, for one-line errors."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _on_one_line(text: str) -> str:
    """Return a text on one line: what ends one, or moves a cursor, is spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(text: str) -> str:
    """Return a text without the middle of what is too long to read, what somebody gave perhaps."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST * 3 // 4]} ... {text[-_LONGEST // 4 :]}"


@contextmanager
def naming_files() -> Iterator[None]:
    """Make one line of the system's errors about a file, wherever they come up.

    A folder without permission, a disk that went away, a name that is too long.

    Raises
    ------
    InputError
        Names the file and what the system said.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise InputError(f"{error.filename}: {error.strerror}") from None
