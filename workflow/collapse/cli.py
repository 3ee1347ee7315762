"""The command ``collapse``: one subcommand per stage, imported only when it is called."""

import argparse
import atexit
import gc
import io
import os
import shlex
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from collapse import __version__
from collapse.errors import InputError, naming_files

# Commands for people, then the workflow's stages, each with its line of help.
COMMANDS = {
    "predict": "print the closed form for given hyperparameters as JSON",
    "measure": "print every applicable metric of dumped features as JSON",
    "list": "list studies, experiments, figures or claims",
    "describe": "say what a key, kind, data set, metric, prediction, figure or study is",
    "plan": "say what a run will cost before it begins",
    "status": "say what of a run is done, running, waiting and failed",
    "verify": "compare files with their digests and name what differs",
    "compare": "set two folders of results side by side",
    "provenance": "say what determines a file, back to the data set, as JSON",
}
STAGES = {
    "policy": "search a policy for a control task",
    "data": "fetch or make a data set, verify and store it",
    "compute": "compute the states of runs: optimise problems over free features, train networks",
    "measure_runs": "measure the states of runs",
    "predictions": "compute an experiment's closed forms and the frames it is measured against",
    "table": "join what is measured of an experiment's runs into tidy tables",
    "figure": "draw a figure",
    "picture": "draw the metrics of an experiment",
    "moving": "make the moving picture of a study from the recorded states of a run",
    "claims": "decide the claims of a study",
    "join_claims": "join the claims of all studies",
    "overview": "write the first page of the report",
    "reference_page": "write the page of all that `collapse describe` knows",
    "notebook": "execute a notebook",
    "benchmark": "time the engine against the textbook ways",
    "benchmark_precision": "train at several precisions and compare the metrics",
    "benchmark_figure": "draw a figure of the benchmark",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see `{self.prog} --help`)")


def _overview() -> _Parser:
    width = max(map(len, COMMANDS | STAGES))
    lines = ["commands:"]
    lines += [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    lines += ["", "stages, as the workflow calls them:"]
    lines += [f"  {name:{width}}  {text}" for name, text in STAGES.items()]
    lines += ["", "`collapse COMMAND --help` tells more."]
    parser = _Parser(
        prog="collapse",
        usage="collapse [--help] [--version] COMMAND ...",
        description="Replicates the neural-collapse literature.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", help=argparse.SUPPRESS)
    return parser


def _add_stage_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spec",
        required=True,
        metavar="FILE",
        help="what the job is told, a file that the workflow writes beside the job's log",
    )
    parser.add_argument(
        "--expect",
        metavar="DIGEST",
        help="digest that the spec was planned with; refuse to run with another spec or other code",
    )
    parser.add_argument(
        "--attempt",
        type=int,
        default=1,
        metavar="N",
        help="which attempt this is; after the first, what that refused is refused at once (1)",
    )


def _check(spec: Any, path: str, expected: str | None, command: str) -> None:
    """Check a job's spec against the code and the inputs that are there.

    The log begins with the line that runs the job by hand.
    """
    # Before the checks, so that the log of a job that they refuse has the line too.
    print(f"$ {command}", flush=True)
    spec.check(path, expected)
    spec.check_inputs()


def _dispatch(name: str, arguments: list[str]) -> int:
    if name not in COMMANDS | STAGES:
        raise InputError(f"no command '{name}' (there are: {', '.join(COMMANDS | STAGES)})")
    # The millions of objects that torch makes on import live for ever: the collector should
    # search them neither while they are made nor later.
    gc.disable()
    stage = _stage(name)
    gc.freeze()
    gc.enable()
    if "torch" not in sys.modules:
        # Joining tables and drawing make many objects, little garbage, and end soon.
        gc.set_threshold(20_000)
    parser = _Parser(
        prog=f"collapse {name}",
        description=stage.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name in STAGES:
        _add_stage_arguments(parser)
    stage.add_arguments(parser)
    args = parser.parse_args(arguments)
    if name in COMMANDS:
        return stage.run(args) or 0
    from collapse import heartbeat, specs

    path = args.spec
    args.spec = specs.read(path, name)
    # The spec lies beside the log.
    log = Path(path).with_suffix("")
    if args.attempt > 1:
        heartbeat.refuse_again(log, args.spec.digest)
    with heartbeat.beating(log, args.spec.digest), naming_files():
        _check(args.spec, path, args.expect, shlex.join(["collapse", name, *arguments]))
        return stage.run(args) or 0


def _stage(name: str) -> ModuleType:
    """Import the module of a command.

    Raises
    ------
    InputError
        The library is installed alone, without what the workflow needs.
    """
    try:
        return import_module(f"collapse.stages.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "collapse"):
            raise
        raise InputError(
            f"{name}: needs the package {missing}, which is not installed; the library alone has "
            "predict and measure, `pip install '.[workflow,notebooks]'` the rest"
        ) from None


def _out_of_memory(error: BaseException) -> bool:
    """Return whether NumPy, or PyTorch on a CPU or a GPU, found no memory."""
    # By name: PyTorch need not be loaded.
    torch_says = "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or torch_says


def _end_at_once(code: list[int]) -> None:
    """Leave the process with its exit code, if there is one, as the last of all that it does.

    To take apart all that torch imported takes longer than many a job.
    """
    if code:
        # What cannot be written Python itself says, on the longer way.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code[0])


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: its own, or 2 after one line about bad input.

    Without arguments it is that of the command line, after which the process ends.
    """
    if arguments is not None:
        return _run(arguments)
    code: list[int] = []
    # Before all imports that register something: the first is called last. What had registered
    # before this, a tool that watches the process, would not be called at all.
    if not atexit._ncallbacks():
        atexit.register(_end_at_once, code)
    code.append(_run(sys.argv[1:]))
    return code[0]


def _run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with naming_files():
            # Only the first word: the options behind it are those of a parser that is made later.
            return _dispatch(_overview().parse_args(arguments[:1]).command, arguments[1:])
    except InputError as error:
        print(f"collapse: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) went away: nothing is wrong, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        # Not bad input: on a cluster the next attempt is given more.
        said = str(error).partition("\n")[0]
        print(f"collapse: error: not enough memory ({said})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # What a shell reports of a process that SIGINT ended.
        return 130


if __name__ == "__main__":
    sys.exit(main())
