"""Measure the recorded epochs of networks."""

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import pandas as pd
import torch

from collapse import probes
from collapse.errors import InputError
from collapse.models.network import Network, build
from collapse.models.states import set_arrays
from collapse.probes import State
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.progress import Progress
from collapse.training.extract import extract, extract_to_measure
from collapse.training.samples import Samples, held_out, training_set
from collapse.upstream import Upstream


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded epoch of each run on the whole training set.

    Full features of the last epoch (of all, if the config says so) are dumped: ``H1`` (N x d), if
    the config says so also ``hidden1`` and so on of the hidden layers, the head's ``W1`` to ``WM``
    and, if it has one, ``bias``, float32; ``labels`` or ``targets`` once.
    """
    # The device before the data: who waits for one holds none.
    config, device, dataset = runs[0]["config"], job.device, upstream.data_set()
    samples, targets = training_set(dataset, config["data"], device)
    test = held_out(dataset, config["data"], device)
    network, built = None, None
    for run in runs:
        # One network for all states of its kind: every parameter is loaded, the seed is of no
        # account.
        shape = run["config"]["model"], run["config"]["head"]
        if shape != built:
            built, outputs = shape, len(dataset.outputs)
            network = build(run["config"], samples.shape, outputs, seed=0).to(device)
        record, history = states.run(run["id"]), states.history_of(run["keys"])
        readings = Readings(run, record, targets, upstream, job)
        for epoch in record["steps"]:
            load(states, network, run["id"], epoch)
            # What is dumped is exact, and so is what is measured of it.
            dumped = epoch == record["steps"][-1] or config["features"] == "all"
            products = "float32" if dumped else record["precision"]
            hidden = config["layers"] == "all"
            features, products = extract_to_measure(
                network, samples, targets, products, hidden=hidden
            )
            past = history[history["epoch"] <= epoch]
            readings.add(epoch, network, features, samples, test, past, products)
        yield readings.measured()


class Readings:
    """What is measured of a run, step by step."""

    def __init__(
        self,
        run: Mapping[str, Any],
        record: Mapping[str, Any],
        targets: torch.Tensor,
        upstream: Upstream,
        job: JobContext,
    ) -> None:
        self._run, self._record, self._targets, self._job = run, record, targets, job
        self._upstream = partial(upstream.features, run["id"])
        self._rows: list[tuple[int, str, str, float]] = []
        self._points: list[pd.DataFrame] = []
        self._features = {"labels" if targets.ndim == 1 else "targets": targets}
        self._layers: tuple[str, ...] = ()
        self._progress = Progress(len(record["steps"]), unit="state")
        self._diverged = [step for step in [record["diverged_at"]] if step is not None]

    def add(
        self,
        step: int,
        network: Network,
        features: Mapping[str, torch.Tensor],
        samples: Samples,
        test: tuple[Samples, torch.Tensor],
        history: pd.DataFrame,
        products: str = "float32",
    ) -> None:
        """Measure a step: the network as it is then and its features, N x d by layer.

        `samples` and `test` are those that it was trained on, and a test set; `history` says what
        is known of its training until then: ``loss`` is the mean of the objective over the batches
        of the epoch that ends here, unless a probe measures it at the state. `products` are those
        of the features, which those of the test set are computed in, too. The features are dumped
        at the last step, or at all, if the config says so. Where they are not finite, as parameters
        on their way to divergence still are, nothing is measured: the run diverged.
        """
        self._layers = tuple(features)
        steps, wanted = self._record["steps"], self._job.settings["probes"]
        tensors = {**features, **_head(network)}
        state = State(
            config=self._run["config"],
            tensors=tensors,
            features=features["H1"],
            weights=[tensors[name] for name in tensors if name[0] == "W"],
            bias=tensors.get("bias"),
            targets=self._targets,
            frame=self._job.frame(self._run["keys"], step),
            # Called by the probes that want it: it costs a pass over the test samples, once.
            held_out=cache(partial(_held_out, network, *test, products)),
            network=network,
            samples=samples,
            products=products,
            history=history,
            upstream=self._upstream,
            # Of the recorded steps: a diverged run ends where its states do.
            first=step == steps[0],
            last=step == steps[-1],
        )
        if all(values.isfinite().all() for values in features.values()):
            # Before the first epoch nothing has been trained.
            loss = next(iter(history["objective"].tail(1)), None)
            readings = probes.with_loss(probes.rows(state, wanted), loss)
            self._rows += [(step, *reading) for reading in readings]
            self._points += [frame.assign(step=step) for frame in probes.points(state, wanted)]
        else:
            self._diverged.append(step)
        # Features of every step would be many times the data set.
        if state.last or self._run["config"]["features"] == "all":
            prefix = f"{self._run['id']}/{step:06d}/"
            self._features |= {prefix + name: tensor for name, tensor in tensors.items()}
        self._progress.update(steps.index(step) + 1)

    def measured(self) -> Measured:
        """Return what was measured."""
        rows = [(min(self._diverged), "all", "diverged", 1.0)] if self._diverged else []
        return Measured(self._rows + rows, self._points, self._features, self._layers)


def load(states: States, network: Network, run: str, step: int) -> None:
    """Load a recorded state of a run into a network.

    Raises
    ------
    InputError
        If it is the state of a network of another shape.
    """
    try:
        set_arrays(network.state_dict(), states.at(run, step))
    except InputError as error:
        raise InputError(f"{states.path}: {run}, step {step}: {error}") from None


def _head(network: Network) -> dict[str, torch.Tensor]:
    # Copies: the next state is loaded into the same network.
    layers = {f"W{m}": weight.detach().clone() for m, weight in enumerate(network.head.weights, 1)}
    if network.head.bias is not None:
        layers["bias"] = network.head.bias.detach().clone()
    return layers


@torch.inference_mode()
def _held_out(
    network: Network, samples: Samples, targets: torch.Tensor, products: str
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the outputs and targets of samples that it was not trained on, if there are any."""
    if not len(samples):
        return None
    return network.head(extract(network, samples, products=products)["H1"]), targets
