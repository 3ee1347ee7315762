"""What each layer of a network that is trained layer by layer is as a network of its own."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def stage_configs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a config for each hidden layer, in their order: a network with that layer alone."""
    model = config["model"]
    module = import_module(f"collapse.models.{model['kind']}")
    return [{**config, "model": layer} for layer in module.layers(model)]
