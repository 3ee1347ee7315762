"""List studies, experiments, figures or claims.

Of claims come first how many there are of each verdict, then those that did not replicate.
`collapse describe NAME` says more of a study or figure.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import pandas as pd

from collapse import comparison, config, jobs, studies
from collapse.config import command_line
from collapse.config.reading import known
from collapse.errors import InputError
from collapse.grid import format_value
from collapse.studies.verdicts import RULE, VERDICTS, as_word, counts

REFERENCE = Path("results/reference")
"""The results that this project ships, beside whose claims a run's are listed."""
_PICTURE = "The metrics of an experiment, any that `collapse list experiments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    # What is listed comes first: --verdict and --config take every word that follows them.
    parser.usage = "%(prog)s [WHAT] [STUDY] [OPTION ...]"
    parser.add_argument(
        "what", nargs="?", default="studies", metavar="WHAT",
        help=f"one of {', '.join([*_LISTS, 'claims'])} (studies)",
    )  # fmt: skip
    parser.add_argument("study", nargs="?", metavar="STUDY", help="only those of this study")
    parser.add_argument(
        "--verdict", nargs="+", metavar="VERDICT",
        help=f"only claims of these verdicts: {', '.join(map(as_word, VERDICTS))}",
    )  # fmt: skip
    parser.add_argument("--long", action="store_true", help="say all that is known of each claim")
    command_line.add_arguments(parser)
    parser.epilog = (
        "Of scale `reference` and no folder of results the claims are those of the shipped runs."
    )


def run(args: argparse.Namespace) -> None:
    """Print the list."""
    allowed = [*_LISTS, "claims"]
    if args.what not in allowed:
        raise InputError(f"nothing to list called '{args.what}' (there are: {', '.join(allowed)})")
    if args.what != "claims" and (args.verdict or args.long):
        raise InputError(f"--verdict and --long: not of {args.what}, allowed of claims")
    atlas = command_line.atlas(args)
    if args.study is not None:
        known("study", args.study, atlas.studies)
    names = list(atlas.studies) if args.study is None else [args.study]
    if args.what == "claims":
        shipped = args.scale == "reference" and not args.results
        folder = REFERENCE if shipped else Path(atlas.results)
        wanted = [_verdict(word) for word in args.verdict] if args.verdict else VERDICTS
        _claims(_decided(folder, args.scale, names), wanted, args.long)
    else:
        _LISTS[args.what](atlas, names)


def _studies(_: config.Atlas, names: Sequence[str]) -> None:
    for name in names:
        study = studies.load(name)
        print(f"{name}\n{_folded(study.paper)}\n{_folded(f'objective: {study.objective}')}")


def _experiments(atlas: config.Atlas, names: Sequence[str]) -> None:
    for study in names:
        for name, experiment in atlas.studies[study].items():
            varied = "  ".join(
                f"{path} = {', '.join(map(format_value, values))}"
                for path, values in experiment.grid.items()
            )
            runs = len(atlas.runs(study, name))
            how = f"{experiment.procedure}, {runs} runs at {atlas.scale} scale"
            print(f"{study} {name}  ({how})  {varied}")


def _figures(atlas: config.Atlas, names: Sequence[str]) -> None:
    for study in names:
        figures = studies.load(study).figures
        for name in jobs.drawn(atlas, study):
            path = f"{atlas.results}/figures/{study}/{name}.pdf"
            print(f"{path}\n{_folded(_first_sentence(figures[name].caption))}")
        if movings := dict.fromkeys(path for path, _ in jobs.movings(atlas, study)):
            print(*(f"{atlas.results}/{path}" for path in movings), sep="\n")
            print(_folded(_first_sentence(studies.load(study).moving.caption)))
        # One for each experiment would be a list of these.
        print(f"{atlas.results}/figures/{study}/experiment/NAME.pdf\n  {_PICTURE} {study}` has.")


def _folded(text: str) -> str:
    return fill(text, 100, initial_indent="  ", subsequent_indent="  ")


def _first_sentence(text: str) -> str:
    # No sentence ends with the dots of an ellipsis.
    return re.split(r"(?<=[^.]\.) (?=[A-Z])", text)[0]


def _decided(folder: Path, scale: str | None, names: Sequence[str]) -> pd.DataFrame:
    """Return the claims of these studies: the shipped ones, or a run's with those beside them.

    The latter have a column ``reference``, the shipped verdict.
    """
    claims = comparison.claims(folder)
    claims = claims[claims["study"].isin(names)]
    if claims.empty and folder == REFERENCE:
        raise InputError(f"{', '.join(names)}: no reference run is shipped")
    if claims.empty:
        raise InputError(
            f"{folder}/claims: none decided yet: `snakemake` decides them, `--scale reference` "
            "lists the shipped ones"
        )
    if scale and not (claims["scale"] == scale).all():
        found = ", ".join(sorted(set(claims["scale"])))
        raise InputError(f"{folder}/claims: decided at scale {found}, not at {scale}")
    if absent := [name for name in names if name not in set(claims["study"])]:
        print(f"not decided: {', '.join(absent)}")
    if folder == REFERENCE:
        return claims
    keys = ["study", "claim"]
    shipped = comparison.claims(REFERENCE)[[*keys, "verdict"]]
    return claims.merge(shipped.rename(columns={"verdict": "reference"}), on=keys, how="left")


def _claims(claims: pd.DataFrame, wanted: Sequence[str], long: bool) -> None:
    """Print how many there are of each verdict, then those that did not replicate first."""
    print(f"claims at {', '.join(sorted(set(claims['scale'])))} scale")
    table = counts(claims)
    # A single source needs no name.
    print((table if "reference" in claims else table["this run"]).to_string())
    print("\n" + fill(RULE, 100))
    for verdict in VERDICTS:
        rows = claims[claims["verdict"] == verdict]
        if verdict not in wanted or rows.empty:
            continue
        print(f"\n{verdict} ({len(rows)})")
        width = max(len(f"{claim.study} {claim.claim}") for claim in rows.itertuples())
        for claim in rows.itertuples():
            (_print_long if long else _print)(claim, width)


def _print(claim: tuple, width: int) -> None:
    name, bound = f"{claim.study} {claim.claim}", f"bound {claim.tolerance:g} ({claim.bound})"
    print(f"  {name:{width}}  {claim.measured}; {bound}{_shipped(claim)}")


def _print_long(claim: tuple, _: int) -> None:
    print(f"  {claim.study} {claim.claim} ({claim.scale} scale{_shipped(claim)})")
    print(f"    {claim.statement} [{claim.source}]")
    print(f"    expected: {claim.expected} (tolerance {claim.tolerance:g}, set by {claim.bound})")
    print(f"    measured: {claim.measured} ({claim.seeds} seeds)")


def _shipped(claim: tuple) -> str:
    """Return, in words, the verdict of the reference runs, if the claim is listed beside one."""
    verdict = getattr(claim, "reference", "")
    return f"; reference: {verdict}" if isinstance(verdict, str) and verdict else ""


def _verdict(word: str) -> str:
    """Return the verdict of a word of the command line."""
    known("verdict", word, map(as_word, VERDICTS))
    return word.replace("-", " ")


_LISTS = {"studies": _studies, "experiments": _experiments, "figures": _figures}
