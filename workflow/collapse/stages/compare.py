"""Set two folders of results side by side: which verdicts agree, and which numbers differ.

Both are laid out as `results` is: your own run and `results/reference`, two scales, two machines.
Claims are compared by verdict, those first that both decide, the numbers of figures and of tables
by their ranges over seeds: they differ where the ranges lie further apart than either is wide (of
single seeds, by more than 1e-6 of their size; below 1e-12 all are alike). With ``--long`` also
claims that one leaves open, and of each file the number that differs most. The exit code is 1 if
a verdict differs.
"""

import argparse
from pathlib import Path

import pandas as pd

from collapse import comparison
from collapse.errors import InputError

_OPEN = "inconclusive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", metavar="A", help="folder of results")
    parser.add_argument("b", metavar="B", help="folder of other results")
    parser.add_argument(
        "--long", action="store_true", help="all claims that differ, and where files differ most"
    )


def run(args: argparse.Namespace) -> int:
    """Print both comparisons; return the exit code."""
    a, b = Path(args.a), Path(args.b)
    for folder in (a, b):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    claims, files = comparison.verdicts(a, b), list(comparison.numbers(a, b))
    both = claims["verdict_a"].notna() & claims["verdict_b"].notna()
    if not both.any() and not files:
        raise InputError(f"{a}, {b}: neither claims nor numbers of the same name")
    differing = _print_verdicts(claims, args.long)
    for each in files:
        # Of files that have no number in common there is nothing to say.
        if each.common:
            _print_numbers(each, args.long)
    return int(differing > 0)


def _print_verdicts(claims: pd.DataFrame, long: bool) -> int:
    """Print how many verdicts agree, and which do not; return how many.

    Those that one of both leaves open are listed only at length.
    """
    both = claims[claims["verdict_a"].notna() & claims["verdict_b"].notna()]
    differing = both[both["verdict_a"] != both["verdict_b"]]
    for end, name in (("a", "first"), ("b", "second")):
        alone = int(claims[f"verdict_{end}"].notna().sum()) - len(both)
        if alone:
            print(f"{alone} claims are in the {name} alone")
    undecided = (differing[["verdict_a", "verdict_b"]] == _OPEN).any(axis=1)
    print(
        f"{len(both)} claims in both, {len(differing)} with another verdict: {(~undecided).sum()} "
        f"decided otherwise, {undecided.sum()} left open in one"
        + (" (`--long` lists them)" if undecided.any() and not long else "")
    )
    listed = [differing[~undecided], *([differing[undecided]] if long else [])]
    for claim in pd.concat(listed).itertuples():
        print(f"{claim.study} {claim.claim}")
        for end in ("a", "b"):
            verdict, measured, scale = (
                getattr(claim, f"{what}_{end}") for what in ("verdict", "measured", "scale")
            )
            print(f"  {end.upper()} {verdict} at {scale} scale: {measured}")
    return len(differing)


def _print_numbers(file: comparison.Numbers, long: bool) -> None:
    """Print how many numbers of a file differ, and, at length, the one that does most."""
    print(f"{file.name}: {file.common} numbers in both, {len(file.differing)} differ")
    for row in file.differing.iloc[: int(long)].to_dict("records"):
        told = {name: value for name, value in row.items() if _is_key(name) and value != "nan"}
        keys = " ".join(f"{name}={value}" for name, value in told.items())
        ranges = (_range(row, end) for end in ("a", "b"))
        print(f"  {keys}: {' | '.join(ranges)}")


def _is_key(name: str) -> bool:
    """Return whether a column names a number, and is not its range."""
    return name.removesuffix("_a").removesuffix("_b") not in comparison.RANGE


def _range(row: dict, end: str) -> str:
    median, low, high = (row[f"{what}_{end}"] for what in comparison.RANGE)
    return f"{median:.3g}" if low == high else f"{median:.3g} ({low:.3g} to {high:.3g})"
