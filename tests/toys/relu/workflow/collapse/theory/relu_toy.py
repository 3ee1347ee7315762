"""The minimum: orthogonal non-negative features do what signed ones do."""

import math

from collapse.theory.hyperparameters import Hyperparameter, integer, number, parse

OBJECTIVE = "1/(2N) ||W relu(H) - Y||^2 + weight_decay/2 ||W||^2 + feature_decay/2 ||relu(H)||^2"
KEYS = {
    "classes": Hyperparameter(integer(2, 10**6), "number of classes K, at most the width"),
    "per_class": Hyperparameter(integer(1, 10**9), "samples of each class n"),
    "weight_decay": Hyperparameter(number(0), "penalty of W"),
    "feature_decay": Hyperparameter(number(0), "penalty of relu(H), summed over samples"),
}


def predict(**hyperparameters):
    values = parse(KEYS, hyperparameters)
    classes, size = values["classes"], values["per_class"]
    level, total = math.sqrt(values["weight_decay"] * values["feature_decay"]), classes * size
    signal = max(math.sqrt(size) - total * level, 0.0)
    fit = (math.sqrt(size) - signal) ** 2 / (2 * total)
    return {"loss": classes * (fit + level * signal)}


def of_run(config, _):
    names = ("classes", "per_class")
    decays = {name: config[name] for name in ("weight_decay", "feature_decay")}
    return predict(**{name: config["problem"][name] for name in names}, **decays)
