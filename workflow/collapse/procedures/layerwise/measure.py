"""Measure a network that was trained layer by layer: the features of each layer in turn."""

from collections.abc import Iterator

from collapse.models.network import build
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.procedures.layerwise.stages import stage_configs
from collapse.procedures.network.measure import Readings, load
from collapse.training.extract import extract
from collapse.training.samples import Samples, held_out, training_set
from collapse.upstream import Upstream


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every layer of a run, on the whole training set and under the layer's own head.

    Features of the last layer (of all, if the config says so) are dumped, as of a network.
    """
    (run,) = runs
    # The device before data and states: who waits for one holds none.
    device, dataset, record = job.device, upstream.data_set(), states.run(run["id"])
    history = states.history_of(run["keys"])
    samples, targets = training_set(dataset, run["config"]["data"], device)
    test, test_targets = held_out(dataset, run["config"]["data"], device)
    readings = Readings(run, record, targets, upstream, job)
    # As many as were recorded: a run may have diverged at a layer.
    for step, config in zip(record["steps"], stage_configs(run["config"]), strict=False):
        network = build(config, samples.shape, len(dataset.outputs), seed=0).to(device)
        load(states, network, run["id"], step)
        features = extract(network, samples)
        past = history[history["stage"] <= step]
        readings.add(step, network, features, samples, (test, test_targets), past)
        samples = Samples.of_features(features["H1"])
        if len(test):
            test = Samples.of_features(extract(network, test)["H1"])
    yield readings.measured()
