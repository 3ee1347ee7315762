"""What figures and claims read of networks' mixed samples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from collapse.errors import InputError
from collapse.plotting import category_colours
from collapse.studies import Results, sentences
from collapse.studies.networks import describe, setting
from collapse.theory.mixup import amplification, decay_at_gap

LOSSES = {
    "network_baseline": "CE",
    "network_mixup": "CE + mixup",
    "network_mse_mixup": "MSE + mixup",
}
"""The experiments that compare losses, and what they are called."""
FROZEN = "frozen ETF"
"""What a network is called whose classifier is frozen to a simplex ETF."""
ROWS = ("network", "wideresnet", "vit")
"""The networks of the pictures: beginnings of experiments' names."""
PAPER_ALPHA = 1.0


def at_alpha(experiment: Results, rows: pd.DataFrame, alpha: float = PAPER_ALPHA) -> pd.DataFrame:
    """Return the rows of runs with this alpha; all rows of an experiment without one."""
    if "alpha" not in rows:
        return rows
    # Of all runs, those that diverged among them: another alpha is no stand-in for these.
    values = experiment.metrics["alpha"].unique()
    # A config of one's own may have no run at it.
    return rows[rows["alpha"] == (alpha if alpha in values else values[0])]


def colours() -> dict[str, tuple]:
    """Return the colour of each loss, and that of a frozen classifier, in every figure."""
    # The fourth colour is too near the second.
    return category_colours([*LOSSES.values(), "", FROZEN])


def toned(colour: tuple, alpha: float) -> tuple:
    """Return the colour of a loss at an alpha: darker the larger it is, itself at the paper's."""
    tone, share = np.array(to_rgb(colour)), alpha / PAPER_ALPHA
    return tuple(1 - (0.3 + 0.7 * share) * (1 - tone) if share < 1 else tone / np.sqrt(share))


def known(value: float) -> str:
    """Spell a number with three digits, or that it is undefined."""
    return sentences.number(value) if np.isfinite(value) else "undefined"


def spelt(rows: pd.DataFrame) -> list[str]:
    """Spell rows of `over_seeds`: the median, and the range in brackets where there is one."""
    texts = []
    for middle, low, high in zip(rows["median"], rows["low"], rows["high"], strict=True):
        text, ends = known(middle), sentences.span(pd.Series([low, high]))
        texts.append(text if ends in (text, "nan") else f"{text} ({ends})")
    return texts


def heading(experiments: Mapping[str, Results]) -> str:
    """Return what was trained on what, and what of the experiments is not shown."""
    notes = (experiment.note for experiment in experiments.values() if experiment.note)
    lines = [setting(experiments["network_mixup"].config), left_out(experiments)]
    return "\n".join([*filter(None, lines), *dict.fromkeys(notes)])


def left_out(experiments: Mapping[str, Results]) -> str:
    """Return how many runs diverged, in words; empty where none did."""
    lost = sum(len(experiment.values("diverged")) for experiment in experiments.values())
    return f"left out: {sentences.diverged_runs(lost)}" if lost else ""


def probed(experiment: Results, probe: str) -> pd.DataFrame:
    """Return the points of a probe of networks, of runs that did not diverge.

    Raises
    ------
    InputError
        If the experiment has no such probe.
    """
    settings(experiment, probe)
    return experiment.completed(experiment.points(probe))


def settings(experiment: Results, probe: str) -> Mapping[str, Any]:
    """Return the settings of a probe of the experiment; raise what `probed` does."""
    found = {each["kind"]: each for each in experiment.config["probes"]}
    if probe in found:
        return found[probe]
    trained, made = describe(experiment.config), experiment.config["input"]["kind"]
    raise InputError(
        f"probes: no {probe} found ({trained}, input {made}), needed by figures and claims of mixup"
    )


def points(experiment: Results, view: str | None = None, layer: str = "H1") -> pd.DataFrame:
    """Return the points of mixed samples of one run, its first, and of alpha 1 where it varies.

    Of a view or the first measured, at every step, lambda spread over [0, 1]; the classifier's rows
    are in view ``weights``.
    """
    rows = at_alpha(experiment, probed(experiment, "mixed_points"))
    rows = rows[(rows["layer"] == layer) & (rows["seed"] == rows["seed"].min())]
    # Those at lambda = 1/2 come on top of the others': in a picture they would pass for a cluster.
    rows = rows[rows["mix"] != 0.5]
    view = view or first_view(experiment, "mixed_points")
    return rows[rows["view"].isin([view, "weights"])]


def off_convexity(rows: pd.DataFrame) -> pd.DataFrame:
    """Return 1 - R^2 for R^2 of the convex combination: for an axis of decades, which R^2 is not.

    R^2 has no bound below; 0 is an exact convex combination.
    """
    found = rows["metric"] == "convex_r2"
    return rows.assign(value=rows["value"].where(~found, 1 - rows["value"]))


def first_view(experiment: Results, probe: str) -> str:
    """Return the view that a probe of the experiment measures at every step."""
    return settings(experiment, probe)["views"][0]


def curves(experiment: Results, layer: str = "H1", view: str = "eval") -> pd.DataFrame:
    """Return A(lambda) of each run and step: the run's keys, ``step``, ``mix``, ``value``.

    ``value`` is the mean over pairs of classes of u + v over that of the convex combination of its
    ends, ``straight``. Runs that diverged are left out.
    """
    rows = probed(experiment, "mixed_curves")
    rows = rows[(rows["layer"] == layer) & (rows["view"] == view)]
    keys = [*experiment.keys, "step"]
    pairs = rows.assign(along=rows["u"] + rows["v"]).groupby([*keys, "mix"], dropna=False)["along"]
    table = pairs.mean().reset_index()
    # A key may be null, and a null equals none in a join of indices.
    runs = table.groupby(keys, dropna=False)["along"]
    # Sorted by mix: its ends are 0 and 1.
    second, first = runs.transform("first"), runs.transform("last")
    straight = table["mix"] * first + (1 - table["mix"]) * second
    return table.assign(straight=straight, value=table["along"] / straight)


def ideal_curves(experiment: Results, mix: np.ndarray) -> pd.DataFrame:
    """Return A(lambda) of the closed form for each run's last step: its keys, ``mix``, ``value``.

    It depends on kappa alone, which the logit gap t of unmixed samples gives: t (e^t + K - 1) =
    kappa K. Nothing is fitted.
    """
    rows = experiment.at_last(curves(experiment))
    classes = len(experiment.config["labels"]["classes"])
    # Of both ends of all pairs.
    gaps = rows.groupby(experiment.keys, dropna=False)["straight"].mean().reset_index()
    decays = decay_at_gap(classes, gaps.pop("straight").to_numpy())
    values = amplification(classes, 1.0, decays[:, np.newaxis], mix)
    runs = gaps.loc[gaps.index.repeat(len(mix))].reset_index(drop=True)
    return runs.assign(mix=np.tile(mix, len(gaps)), value=values.ravel())


def pictured(
    experiments: Mapping[str, Results], rows: Sequence[str] = ROWS
) -> Iterator[tuple[str, str, Results]]:
    """Yield network, data set and experiment of each picture of cross-entropy with mixup, once."""
    seen = set()
    names = [f"{row}_{end}" for row in rows for end in ("mixup", "second_data", "fashion")]
    for name in names:
        if name not in experiments:
            continue
        labels = experiments[name].config["labels"]
        place = labels["model"], labels["data"]
        if place not in seen:
            seen.add(place)
            yield *place, experiments[name]
