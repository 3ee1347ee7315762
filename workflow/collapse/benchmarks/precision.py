"""What the precision of training does to the metrics: bf16 and TF32 over seeds, float32 beside.

ResNet18 on Fashion-MNIST, trained into the terminal phase; every metric from float32 features.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from collapse.artifacts import Provenance, canonical_json, read_table, write_table
from collapse.benchmarks.networks import readings
from collapse.benchmarks.sizes import ADAM, MSE, RESNET18
from collapse.data.dataset import Dataset
from collapse.errors import InputError
from collapse.models.network import build
from collapse.models.states import set_arrays
from collapse.training.ensemble import Ensemble
from collapse.training.objective import Objective
from collapse.training.samples import Samples, training_set
from collapse.training.supervised import SupervisedLearner
from collapse.training.trainer import Trainer, train

MODEL = RESNET18
EPOCHS = 120
# Ten times the penalties of the deep-linear study's MLP, which sets the pace of NC2 and NC3: the
# released SGD has none on the features, and collapses little in so few steps.
WEIGHT_DECAY = 5e-3
FEATURE_DECAY = 6.4e-5
SETTINGS = {
    **ADAM,
    "learning_rate": 1e-3,
    "schedule": {"step": EPOCHS // 3, "at": None, "factor": 0.1},
    "epochs": EPOCHS,
    "batch_size": 128,
    "record": 8,
    "augmentation": [],
}
DATA = {"name": "fashion_mnist", "samples_per_class": 1_000}
SEEDS = {"tf32": 5, "bf16": 5, "float32": 2}
"""Seeds of each precision, 0 to that number less one."""

METRICS = ("NC1", "NC2_ETF", "NC2_OF", "NC3", "NC3_product")
ERROR, DIVERGED = "error", "diverged"
"""Further metrics: the training error, and 1 at the epoch at which a run diverged."""
COLUMNS = ("precision", "seed", "epoch", "metric", "value", "note")


def study(
    dataset: Dataset,
    folder: Path,
    identity: Provenance,
    device: torch.device,
    model: Mapping[str, Any] = MODEL,
    settings: Mapping[str, Any] = SETTINGS,
    choice: Mapping[str, Any] = DATA,
    seeds: Mapping[str, int] = SEEDS,
) -> pd.DataFrame:
    """Train at every precision and seed, and measure.

    A run that a predecessor finished is read from the folder, where every run is kept.

    Parameters
    ----------
    folder
        Holds ``precision-PRECISION-SEED.parquet``.
    identity
        What determines the runs; a file of another identity is not used.
    model, settings, choice
        The sections ``model``, ``training`` (less its precision) and ``data`` of a config.
    seeds
        How many, by precision.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row per precision, seed, recorded epoch and metric.
    """
    samples, labels = training_set(dataset, choice, device)
    frames = []
    for precision, seed in [(key, seed) for key in seeds for seed in range(seeds[key])]:
        path = folder / f"precision-{precision}-{seed}.parquet"
        frame = _finished(path, identity)
        if frame is None:
            print(f"training: {precision}, seed {seed}", file=sys.stderr, flush=True)
            rows = _measured(samples, labels, model, settings | {"precision": precision}, seed)
            frame = pd.DataFrame(rows, columns=["epoch", "metric", "value"])
            frame = frame.assign(precision=precision, seed=seed, note="")[list(COLUMNS)]
            # Before the next run begins, which may be killed.
            write_table(path, frame, identity, {"identity": canonical_json(identity)})
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _finished(path: Path, identity: Provenance) -> pd.DataFrame | None:
    """Return the run that a file holds; None where there is none, or one of other code."""
    try:
        frame = read_table(path)
    except InputError:
        return None
    return frame if frame.attrs.get("identity") == canonical_json(identity) else None


def _measured(
    samples: Samples,
    labels: torch.Tensor,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
) -> Iterator[tuple[int, str, float]]:
    """Train one network and yield epoch, metric and value of its recorded states."""
    # The first sample, as a batch has it, says channels and size.
    classes, shape = int(labels.max()) + 1, tuple(samples.take(slice(0, 1)).shape[1:])
    config = {"model": model, "head": {"depth": 1, "bias": False, "init": "orthogonal"}}
    network = build(config, shape, classes, seed).to(labels.device)
    objective = Objective(
        loss=MSE,
        weight_decay=WEIGHT_DECAY,
        feature_decay=FEATURE_DECAY,
        backbone_decay=0.0,
        decayed="all",
        samples=len(samples),
    )
    learner = SupervisedLearner(Ensemble([network]), samples, labels, objective, settings, [seed])
    training = Trainer([learner])
    (result,) = train(training)
    for epoch, state in result.states.items():
        set_arrays(network.state_dict(), state)
        for layer, metric, value in readings(network, samples, labels):
            if (layer, metric) == ("all", ERROR) or (layer == "H1" and metric in METRICS):
                yield epoch, metric, value
    if result.diverged_epoch is not None:
        yield result.diverged_epoch, DIVERGED, 1.0


def left_out(reason: str) -> pd.DataFrame:
    """Return the table of a study that could not be made here: a row per precision says why."""
    rows = [{"precision": precision, "note": f"left out: {reason}"} for precision in SEEDS]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each metric at the last epoch whether bf16 lies within TF32's seeds.

    Within: ``|median over bf16 - median over TF32| <= largest - smallest over TF32's seeds``.

    Beside ``metric`` and ``within`` stand the medians ``tf32``, ``bf16`` and ``float32``,
    ``tf32_range`` (largest - smallest) and ``difference`` (of the medians).
    """
    last = table[table["epoch"] == table["epoch"].max()]
    rows = []
    for metric in METRICS:
        values = last[last["metric"] == metric].groupby("precision")["value"]
        medians, spread = values.median(), values.max() - values.min()
        difference = abs(medians["bf16"] - medians["tf32"])
        rows.append(
            {"metric": metric, **medians[list(SEEDS)]}
            | {"tf32_range": spread["tf32"], "difference": difference}
            | {"within": bool(difference <= spread["tf32"])}
        )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> str:
    """Return the verdicts as text, the last line in words."""
    if table["value"].isna().all():
        return f"precision study {table['note'].iloc[0]}"
    decisions = verdicts(table)
    errors = table[table["metric"] == ERROR]
    lines = [decisions.to_string(index=False, float_format=lambda value: f"{value:.4g}")]
    lines += [
        f"training error at the last epoch, worst seed: {precision} {100 * worst:.3g} %"
        for precision, worst in errors[errors["epoch"] == errors["epoch"].max()]
        .groupby("precision", sort=False)["value"]
        .max()
        .items()
    ]
    lines += [
        f"diverged: {row.precision}, seed {row.seed:g}, epoch {row.epoch:g}"
        for row in table[table["metric"] == DIVERGED].itertuples()
    ]
    outside = ", ".join(decisions.loc[~decisions["within"], "metric"])
    verdict = f"is not within it in {outside}" if outside else "is within it in every metric"
    lines.append(f"bf16 against the spread of TF32's seeds: {verdict}")
    return "\n".join(lines)
