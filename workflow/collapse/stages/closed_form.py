"""What a run's config says to theory, for the stages that set a run beside its closed form."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapse.errors import InputError
from collapse.theory.frame import frame


def hyperparameters(config: Mapping[str, Any], class_sizes: Sequence[int]) -> dict[str, Any]:
    """Return the hyperparameters of a problem's or a network's closed form.

    Parameters
    ----------
    config
        A run's config: a problem's ``problem``, or a network's ``model``, ``head`` and ``loss``,
        and the decays.
    class_sizes
        Samples of each class.
    """
    shared = {key: config[key] for key in ("weight_decay", "feature_decay")}
    if "problem" in config:
        names = ("depth", "widths", "loss", "bias")
        shared |= {name: config["problem"][name] for name in names}
    else:
        widths = config["model"].get("hidden") or config["model"].get("channels")
        shared |= {"loss": config["loss"]} | {key: config["head"][key] for key in ("depth", "bias")}
        shared |= {"widths": widths[-1]} if widths else {}
    return shared | {"class_sizes": list(class_sizes)}


def of_regression(
    config: Mapping[str, Any], target_covariance: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the hyperparameters of the closed form of a regression's problem or network.

    Parameters
    ----------
    config
        A run's config.
    target_covariance
        n x n, with 1/M; without a bias the second moment.

    Raises
    ------
    InputError
        If the backbone is penalised: then the features are not free.
    """
    if config.get("backbone_decay"):
        raise InputError("backbone_decay: the closed form is that of free features, it knows none")
    weight, feature = decays_of_regression(config)
    return {
        "target_covariance": target_covariance,
        "weight_decay": weight,
        "feature_decay": feature,
        "bias": config["problem" if "problem" in config else "head"]["bias"],
    }


def decays_of_regression(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return weight_decay and feature_decay of a head of one layer."""
    weight = config["weight_decay"]
    return weight[0] if isinstance(weight, list) else weight, config["feature_decay"]


def frame_lengths(
    config: Mapping[str, Any], class_sizes: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the norms of the head's rows and of the class means that theory predicts, K each.

    None where there is no such prediction: with a bias, cross-entropy, a width below K or a decay
    of zero.
    """
    try:
        found = frame(**hyperparameters(config, class_sizes))
    except InputError:
        return None
    return found and (found.weights, found.features)
