"""What the notebooks of all studies show of the results: figures with captions, and verdicts."""

import os
from io import BytesIO
from pathlib import Path

import pandas as pd
from IPython.display import Image, Markdown, display
from pandas.io.formats.style import Styler
from PIL import Image as Picture

from collapse.artifacts import read_csv, read_table, verified
from collapse.studies import load, of_value
from collapse.studies.verdicts import INCONCLUSIVE, NOT_REPLICATED, REPLICATED, RULE

RESULTS = Path(os.environ.get("COLLAPSE_RESULTS", "../results"))
"""The folder of the results: that of the workflow's run, or the project's own."""

_DRAWN = os.environ.get("COLLAPSE_FIGURES")
# A page of pictures as they are printed would be too large to be shown inside another.
_WIDEST, _COLOURS = 1400, 128


def table(study: str, experiment: str, name: str = "metrics") -> pd.DataFrame:
    """Return a table of an experiment: ``metrics``, ``predictions`` or ``samples``."""
    return read_table(RESULTS / study / experiment / f"{name}.parquet")


def drawn(study: str, experiment: str) -> pd.DataFrame:
    """Return the metrics of which figures are: of a key that they do not tell apart one value."""
    rows, replication = table(study, experiment), load(study)
    paths = (*replication.axes, *replication.own_axes.get(experiment, ()))
    told = {"seed", "step", "layer", "metric", "value", *(path.split(".")[-1] for path in paths)}
    for key in [column for column in rows if column not in told]:
        rows = of_value(rows, key, rows[key].iloc[0])
    return rows


def figure(study: str, name: str) -> None:
    """Show a figure, and below it what it shows and found, or that this run leaves it out."""
    if _DRAWN is not None and name not in _DRAWN.split(os.pathsep):
        display(Markdown(f"*This run leaves out the experiments of the figure `{name}`.*"))
        return
    path = RESULTS / "figures" / study / f"{name}.png"
    picture = Picture.open(verified(path)).convert("RGB")
    picture.thumbnail((_WIDEST, picture.height))
    small = BytesIO()
    picture.quantize(_COLOURS, dither=Picture.Dither.NONE).save(small, "PNG", optimize=True)
    display(Image(small.getvalue(), width=900, alt=f"Figure {name}, described below"))
    # The objective, which ends a caption, a notebook tells at its beginning.
    told, _ = verified(path.with_suffix(".rst")).read_text(encoding="utf-8").rsplit("\n\n", 1)
    display(Markdown(told))


def outcome(study: str) -> None:
    """Say how many claims replicated, show the others, and name those that did."""
    claims = read_csv(RESULTS / "claims" / f"{study}.csv")
    parts = {
        verdict: claims[claims["verdict"] == verdict]
        for verdict in (NOT_REPLICATED, INCONCLUSIVE, REPLICATED)
    }
    failed, undecided, replicated = parts.values()
    scale = claims["scale"].iloc[0]
    display(
        Markdown(
            f"Of {len(claims)} claims {len(replicated)} replicate at the scale `{scale}`, "
            f"{len(failed)} do not and {len(undecided)} are undecided ({RULE})"
        )
    )
    for verdict, rows in list(parts.items())[:2]:
        if len(rows):
            display(Markdown(f"**{verdict.capitalize()}**"), _listed(rows))
    names = ", ".join(f"`{name}`" for name in replicated["claim"])
    display(Markdown(f"Replicated: {names or 'none'}."))


def _listed(claims: pd.DataFrame) -> Styler:
    columns = {"claim": "10em", "statement": "22em", "measured": "18em", "expected": "18em"}
    left = [{"selector": "th, td", "props": "text-align: left; vertical-align: top"}]
    widths = {
        name: [{"selector": "td", "props": f"min-width: {width}; white-space: normal"}]
        for name, width in columns.items()
    }
    style = claims[list(columns)].style.hide(axis="index").set_table_styles(left)
    return style.set_table_styles(widths, overwrite=False)
