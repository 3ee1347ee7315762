"""The GPUs of this machine, one for each job, in order of arrival: before CUDA is asked anything.

A job takes the lock of a GPU for as long as its process lives, however that ends. While all are
taken it waits, and holds nothing but a ticket: who came before takes the next that both want.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collapse import heartbeat
from collapse.errors import InputError
from collapse.training.locks import try_lock

# Descriptors of the locks: they stay open, and so held, until the process ends.
_held: list[int] = []
_SECONDS = 0.5
# A driver that wakes up takes some seconds.
_PATIENCE = 120


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes
    ----------
    name
        Its UUID, the same for all processes of a machine.
    shown
        What ``CUDA_VISIBLE_DEVICES`` has to say for a process to see it alone.
    """

    name: str
    shown: str


def visible() -> list[Card]:
    """Return the GPUs that this process is shown, by ``CUDA_VISIBLE_DEVICES`` if it is set."""
    names = _names()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return [Card(name, name) for name in names]
    cards = []
    for word in (each.strip() for each in shown.split(",")):
        # A GPU by its number, by the beginning of its UUID, or an instance of one.
        number = int(word) if re.fullmatch("[0-9]{1,4}", word) else len(names)
        by_number = names[number : number + 1]
        found = by_number or [name for name in names if word and name.startswith(word)]
        if not found and not word.startswith("MIG-"):
            # As CUDA does: the first word that is no GPU ends the list.
            break
        cards.append(Card(found[0] if found else word, word))
    return cards


def _names() -> list[str]:
    """Return the UUIDs of the machine's GPUs."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE)
    # No GPU of NVIDIA's, or no driver.
    except (OSError, subprocess.CalledProcessError):
        return []
    except subprocess.TimeoutExpired:
        message = f"nvidia-smi: no answer in {_PATIENCE} s, the GPUs or their driver hang"
        raise InputError(message) from None
    # It may say something else, and succeed.
    return re.findall(r"^GPU-[0-9A-Za-z-]+$", done.stdout.decode(errors="replace"), re.MULTILINE)


def take(cards: Sequence[Card]) -> Card:
    """Wait for one of the GPUs, in order of arrival; return it, locked while this process lives."""
    folder = Path(tempfile.gettempdir())
    with _ticket(folder / "collapse-gpus", cards) as ticket:
        waiting = False
        while True:
            wanted = _wanted_before(ticket)
            for card in cards:
                descriptor = None
                if card.name not in wanted:
                    descriptor = try_lock(folder / f"collapse-gpu-{card.name}.lock")
                if descriptor is not None:
                    _held.append(descriptor)
                    heartbeat.say(waits=None)
                    return card
            if not waiting:
                print("every GPU is in use by another job; waiting for one", file=sys.stderr)
                heartbeat.say(waits="for a GPU")
                waiting = True
            # A lock that ends with its process notifies nobody.
            time.sleep(_SECONDS)


@contextlib.contextmanager
def _ticket(folder: Path, cards: Sequence[Card]) -> Iterator[Path]:
    """Stand in the queue: yield a locked file, named by the time of arrival, of what is wanted."""
    if not folder.exists():
        # Jobs of other users stand in it too: never there without their right to.
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        made.chmod(0o1777)
        try:
            made.rename(folder)
        except OSError:
            made.rmdir()
    name = f"{time.time_ns():020d}-{os.getpid()}"
    # Locked before it is seen: a ticket that nobody holds is one of a process that ended.
    made = folder / f".{name}"
    descriptor = try_lock(made)
    os.write(descriptor, "".join(f"\n{card.name}" for card in cards).encode())
    ticket = made.rename(folder / name)
    try:
        yield ticket
    finally:
        ticket.unlink(missing_ok=True)
        os.close(descriptor)


def _wanted_before(ticket: Path) -> set[str]:
    """Return the names of the GPUs that those want who came before."""
    wanted: set[str] = set()
    for path in ticket.parent.iterdir():
        if not path.name[0].isdigit() or path.name >= ticket.name:
            continue
        # It may go at any moment, and be anything.
        with contextlib.suppress(OSError, UnicodeDecodeError):
            descriptor = try_lock(path)
            if descriptor is None:
                wanted.update(path.read_text().splitlines()[1:])
            else:
                os.close(descriptor)
                with contextlib.suppress(PermissionError):
                    path.unlink(missing_ok=True)
    return wanted
