"""Measure the recorded epochs of networks."""

from collections.abc import Iterator
from functools import partial

import torch

from collapse import probes
from collapse.errors import InputError
from collapse.models.network import Network, build
from collapse.models.states import set_arrays
from collapse.probes import State
from collapse.procedures import JobContext, Measured, Runs, States
from collapse.training.extract import extract
from collapse.training.samples import Samples, held_out, training_set
from collapse.upstream import Upstream


def measure(runs: Runs, states: States, upstream: Upstream, job: JobContext) -> Iterator[Measured]:
    """Measure every recorded epoch of each run on the whole training set.

    Full features of the last epoch (of all, if the config says so) are dumped: ``H1`` (N x d), the
    head's ``W1`` to ``WM`` and, if it has one, ``bias``, float32; ``labels`` or ``targets`` once.
    """
    config, dataset = runs[0]["config"], upstream.data_set()
    samples, targets = training_set(dataset, config["data"], job.device)
    test = held_out(dataset, config["data"], job.device)
    # One network for all states: the seed is of no account, every parameter is loaded.
    network = build(config, dataset.inputs.shape[1:], len(dataset.outputs), seed=0).to(job.device)
    shared = {"targets" if dataset.regression else "labels": targets}
    for run in runs:
        record = states.run(run["id"])
        rows, points, features = [], [], dict(shared)
        for epoch in record["steps"]:
            _load(states, network, run["id"], epoch)
            layers = _layers(network, extract(network, samples))
            # Of the recorded epochs: a diverged run ends where its states do.
            place = {"first": epoch == record["steps"][0], "last": epoch == record["steps"][-1]}
            state = State(
                config=run["config"],
                tensors=layers,
                features=layers["H1"],
                weights=[layers[name] for name in layers if name[0] == "W"],
                bias=layers.get("bias"),
                targets=targets,
                frame=job.frame(run["keys"], epoch),
                # Called by the probes that want it: it costs a pass over the test samples.
                held_out=partial(_held_out, network, *test),
                network=network,
                **place,
            )
            rows += [(epoch, *reading) for reading in probes.rows(state, job.settings["probes"])]
            points += [
                frame.assign(step=epoch) for frame in probes.points(state, job.settings["probes"])
            ]
            # Features of every epoch would be many times the data set.
            if place["last"] or config["features"] == "all":
                prefix = f"{run['id']}/{epoch:06d}/"
                features |= {prefix + name: tensor for name, tensor in layers.items()}
        if record["diverged_at"] is not None:
            rows.append((record["diverged_at"], "all", "diverged", 1.0))
        yield Measured(rows, points, features)


def _load(states: States, network: Network, run: str, epoch: int) -> None:
    try:
        set_arrays(network.state_dict(), states.at(run, epoch))
    except InputError as error:
        raise InputError(f"{states.path}: {run}, epoch {epoch}: {error}") from None


def _layers(network: Network, features: torch.Tensor) -> dict[str, torch.Tensor]:
    head = network.head
    layers = {"H1": features}
    for number, weight in enumerate(head.weights, start=1):
        # Copies: the next state is loaded into the same network.
        layers[f"W{number}"] = weight.detach().clone()
    if head.bias is not None:
        layers["bias"] = head.bias.detach().clone()
    return layers


@torch.inference_mode()
def _held_out(
    network: Network, samples: Samples, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the outputs and targets of samples that it was not trained on, if there are any."""
    if not len(samples):
        return None
    return network.head(extract(network, samples)), targets
