"""The posterior of a linear variational autoencoder: what of it has collapsed to the prior."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from collapse.errors import InputError
from collapse.probes import Reading, State
from collapse.problems.parameters import Parameters


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield the numbers that closed forms say something of, of a state of a population.

    On layer ``all``, lists in descending order of what a latent carries, with one level of latents:
    ``decoder_singular_values[i]``, of U1; ``encoder_singular_values[i]``, of the posterior mean as
    a map of the data, in units of their (conditional) deviations; ``encoder_std[i]``, the
    posterior's std, ascending; ``active``, how many of the encoder's singular values, squared, are
    above a hundredth of the prior's variance (Burda et al. 2016), none where what is given
    determines the data, whatever is encoded; ``KL_latent[i]``, the expected KL divergence of each
    latent from the prior in nats, descending, and ``KL``, their sum.

    With two levels: ``lambda[i]`` and ``omega[i]``, singular values of W1 C^(1/2) and of U2;
    ``decoder_singular_values[i]`` of U1; ``encoder_std_2[i]``, the std of z2, ascending;
    ``active``, how many lambda^2 are above a hundredth of the noise of z1, and ``active_2``, how
    many singular values of the posterior mean of z2, as a map of z1 with its noise, are, squared,
    above a hundredth of the prior's variance; ``KL_1`` and ``KL_2``, the divergences in nats of z1
    from p(z1|z2), expected over z2, and of z2 from its prior.
    """
    problem = import_module(f"collapse.problems.{state.config['problem']['kind']}").build(
        [state.config]
    )
    if not hasattr(problem, "posterior"):
        raise InputError("probe posterior: a state of a linear autoencoder is needed")
    batch = Parameters(**{name: tensor.unsqueeze(0) for name, tensor in state.tensors.items()})
    for name, values in problem.posterior(batch):
        found = values[0].tolist()
        if isinstance(found, list):
            yield from (("all", f"{name}[{i}]", float(each)) for i, each in enumerate(found))
        else:
            yield "all", name, float(found)
