"""Measure language models: collapse of the features of all training contexts, and held-out text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from collapse.metrics import collapse, kernels, uniformity
from collapse.metrics.batches import Batches
from collapse.metrics.collapse import ClassStatistics, class_statistics
from collapse.metrics.rows import row_blocks
from collapse.models.network import Network
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.procedures.language.corpus import Corpus, corpus_of
from collapse.procedures.language.transformer import build
from collapse.procedures.network.measure import load
from collapse.progress import Progress
from collapse.training.device import precision
from collapse.upstream import Upstream

Row = tuple[str, str, float]
"""Layer, metric, value."""

# Positions in one forward pass that keep a device busy.
POSITIONS = {"cpu": 2**13, "cuda": 2**17}

SHOWN = 16
"""Tokens whose means and rows of the head are compared with each other, the most frequent ones."""
OTHERS = "(others)"
"""Name of the token that stands for all that a smaller vocabulary leaves out."""

ABOUT_ALL = {"CDNV": collapse.cdnv, "CDNV_2": partial(collapse.cdnv, exponent=2)}
# About the unweighted mean of the class means.
ABOUT_MEANS = {
    "NC1_ratio": collapse.nc1_ratio,
    "NC2_ETF": collapse.nc2_etf,
    "equinorm": collapse.equinorm,
    "equiangularity": collapse.equiangularity,
    "log_norm_variance": uniformity.log_norm_variance,
    "NC3": collapse.nc3,
}


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded epoch of each run on all contexts, in batches that are not kept.

    Points of the probe ``duality`` are those of `dualities`.
    """
    # The device before the data: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    corpus = corpus_of(dataset, runs[0]["config"]["data"], device)
    names = names_of(dataset.outputs, corpus)
    for run in runs:
        model = build(run["config"], corpus.vocabulary, seed=0).to(device)
        record, history = states.run(run["id"]), states.history_of(run["keys"])
        progress, rows, points = Progress(len(record["steps"]), unit="state"), [], []
        for number, step in enumerate(record["steps"], 1):
            load(states, model, run["id"], step)
            with torch.inference_mode(), precision("float32"):
                statistics = statistics_of(model, corpus.train, corpus.classes)
                found = state_readings(model, corpus, statistics)
            past = training_readings(history[history["epoch"] == step])
            rows += [(step, *reading) for reading in (*found, *past)]
            compared = dualities(statistics, names)
            points.append(compared.assign(step=step, layer="H1", probe="duality"))
            progress.update(number)
        diverged = record["diverged_at"]
        end = [] if diverged is None else [(diverged, "all", "diverged", 1.0)]
        yield Measured(rows + end, points)


def names_of(outputs: Sequence[str], corpus: Corpus) -> list[str]:
    """Return the names of the classes of a corpus, K, of those of all tokens of its text."""
    merged = corpus.vocabulary < len(outputs)
    names = [*outputs[: corpus.vocabulary - merged], *[OTHERS] * merged]
    return [names[token] for token in corpus.classes.tolist()]


def dualities(statistics: ClassStatistics, names: Sequence[str]) -> pd.DataFrame:
    """Return ``cos(w_k, mu_l - mu_G)`` of the most frequent classes, mu_G the mean of all means.

    Columns ``row``, k, and ``column``, l, places in the order of frequency; ``row_name``, the name
    of class k; ``value``, which is 0 where a mean coincides with mu_G.
    """
    chosen = statistics.counts.sort(descending=True, stable=True).indices[:SHOWN]
    weight, centred = (
        functional.normalize(rows[chosen], dim=1)
        for rows in (statistics.weight, statistics.unweighted().centred)
    )
    cosines = (weight @ centred.T).cpu().numpy()
    row, column = (places.ravel() for places in np.indices(cosines.shape))
    words = np.array(names, dtype=object)[chosen.cpu().numpy()]
    return pd.DataFrame(
        {"row": row, "column": column, "row_name": words[row], "value": cosines.ravel()}
    )


def state_readings(model: Network, corpus: Corpus, statistics: ClassStatistics) -> list[Row]:
    """Return what is measured of a model on a corpus, of which these are the statistics.

    ``classes`` is K, how many tokens follow a training context: means, variances and the rows of
    the head are of these alone. ``entropy``, where the law of the text is known, is the mean over
    the held-out positions of -log p given all before them, in nats. See `class_readings` and
    `held_out_readings`.
    """
    classes = corpus.classes
    rows = [("all", "classes", float(len(classes)))]
    if corpus.entropy is not None:
        rows.append(("all", "entropy", corpus.entropy))
    # Of the first metrics pictures have a panel: these first.
    rows += held_out_readings(model, corpus.test, classes, statistics)
    return [*rows, *class_readings(statistics)]


def statistics_of(model: Network, windows: Tensor, classes: Tensor) -> ClassStatistics:
    """Return the class statistics of a model's features of all contexts, read in batches.

    `windows` are N x (L + 1) tokens, `classes` those that follow a context, K, ascending; the
    weight is the head's rows of these.
    """
    model.eval()
    place = torch.empty(len(model.head.weights[0]), dtype=torch.int64, device=windows.device)
    place[classes] = torch.arange(len(classes), device=windows.device)
    batches = Batches(
        lambda: ((features, place[labels]) for features, labels in passes(model, windows))
    )
    # A class of one sample has no spread. What training contexts choose is not asked for.
    statistics = class_statistics(batches, least=1)
    return replace(statistics, weight=model.head.weights[0][classes].to(statistics.means))


def passes(model: Network, windows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features, b x d, and the tokens that follow, b, of all contexts of windows in order."""
    size = max(1, POSITIONS[windows.device.type] // (windows.shape[1] - 1))
    for part in windows.split(size):
        yield model.backbone(part[:, :-1]), part[:, 1:].flatten()


def class_readings(statistics: ClassStatistics) -> Iterator[Row]:
    """Yield metrics of the features of training contexts, of classes with samples.

    As the library `neural_collapse` has them, with the unweighted mean of the class means for mu_G
    where one is needed: beside CDNV, CDNV_2, NC1_ratio, NC2_ETF, equinorm, equiangularity, NC3 and
    the log kernel of GNC2 what `duality_readings` has, and ``log_norm_variance``, the variance
    (ddof 0) over classes of log norm(mu_k - mu_G). A model that sees no context has one feature for
    all: most are 0/0 then, and have no row.
    """
    unweighted = statistics.unweighted()
    found = {name: metric(statistics) for name, metric in ABOUT_ALL.items()}
    found |= {f"{name}_unweighted": metric(unweighted) for name, metric in ABOUT_MEANS.items()}
    logarithms = kernels.gnc2(unweighted)
    found |= {f"{n}_unweighted": logarithms[n] for n in ("GNC2_log_mean", "GNC2_log_variance")}
    found |= {
        f"{name}_unweighted": v for name, v in uniformity.duality_readings(unweighted).items()
    }
    yield from (("H1", name, value) for name, value in found.items() if value is not None)


def held_out_readings(
    model: Network, windows: Tensor, classes: Tensor, statistics: ClassStatistics
) -> list[Row]:
    """Return what is measured on held-out windows.

    ``validation_loss`` is the mean cross-entropy in nats, ``validation_error`` the fraction of
    tokens that are not the most likely one. ``NC4_held_out`` is the fraction of contexts where the
    head and the nearest class mean of training choose different tokens, of those with training
    samples: 1 less the agreement of Wu & Papyan 2024; undefined where all class means coincide.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=windows.device)
    for values, labels in passes(model, windows):
        # A token has as many outputs as the vocabulary, far more than features.
        for features, window in row_blocks(values, len(model.head.weights[0])):
            outputs, following = model.head(features).double(), labels[window]
            sums[0] += functional.cross_entropy(outputs, following, reduction="sum")
            sums[1] += (outputs.argmax(1) != following).sum()
            sums[2] += uniformity.disagreement(features, statistics).sum()
    loss, error, differ = (sums / windows[:, 1:].numel()).tolist()
    rows = [("all", "validation_loss", loss), ("all", "validation_error", error)]
    return rows + ([("H1", "NC4_held_out", differ)] if statistics.between_trace else [])


def training_readings(history: pd.DataFrame) -> Iterator[Row]:
    """Yield ``loss``, the mean over the batches of an epoch, and ``error``, if any."""
    for name, kept in (("loss", "objective"), ("error", "error")):
        yield from (("all", name, value) for value in history[kept])
