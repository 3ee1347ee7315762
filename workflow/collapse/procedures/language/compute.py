"""Train the language models of a group side by side."""

from collections.abc import Sequence
from typing import Any

from collapse.procedures import Computed, JobContext, Runs
from collapse.procedures.language.corpus import Corpus, corpus_of
from collapse.procedures.language.learner import LanguageLearner
from collapse.procedures.language.transformer import build
from collapse.procedures.network.compute import checkpoints_of, computed
from collapse.training.ensemble import Ensemble
from collapse.training.trainer import Trainer, train
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Train the models of a group; a killed training continues from its checkpoints."""
    # The device before the data: who waits for one holds none.
    device, dataset = job.device, upstream.data_set()
    corpus = corpus_of(dataset, runs[0]["config"]["data"], device)
    groups = _alike(runs)
    trainer = Trainer([_learner(group, corpus) for group in groups])
    results = iter(train(trainer, checkpoints_of(trainer, job)))
    by_run = {run["id"]: next(results) for group in groups for run in group}
    return computed(runs, [by_run[run["id"]] for run in runs])


def _alike(runs: Runs) -> list[Runs]:
    """Split runs into those that differ in their seed only: their models are stacked."""
    groups: dict[str, list] = {}
    for run in runs:
        # By their text: configs hold lists, which cannot be keys.
        groups.setdefault(repr(run["config"]), []).append(run)
    return list(groups.values())


def _learner(runs: Sequence[dict[str, Any]], corpus: Corpus) -> LanguageLearner:
    """Return what trains new models of one config, one for each run."""
    config, seeds = runs[0]["config"], [run["seed"] for run in runs]
    device = corpus.train.device
    # Initialised on the CPU: the start is the same on every device.
    models = [build(config, corpus.vocabulary, seed).to(device) for seed in seeds]
    return LanguageLearner(Ensemble(models), corpus.train, config["training"], seeds)
