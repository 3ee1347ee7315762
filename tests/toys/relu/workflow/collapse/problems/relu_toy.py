"""1/(2N) ||W relu(H) - Y||^2 + weight_decay/2 ||W||^2 + feature_decay/2 ||relu(H)||^2."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapse.problems.base import Problem


@dataclass(frozen=True, eq=False)
class ReLU(Problem):
    targets: Tensor
    dim: int
    weight_decay: Tensor
    feature_decay: Tensor

    @property
    def batch(self):
        return len(self.weight_decay)

    @property
    def shapes(self):
        classes, samples = self.targets.shape
        return {"H": (self.dim, samples), "W1": (classes, self.dim)}

    def initial(self, seeds, init_scale):
        start = super().initial(seeds, init_scale)
        return start.replaced(H=start.features.abs())

    def objective(self, parameters):
        features, (weight,) = parameters.features.relu(), parameters.weights
        fit = (weight @ features - self.targets).square().sum((1, 2)) / self.targets.shape[1]
        penalty = self.weight_decay * weight.square().sum((1, 2))
        return (fit + penalty + self.feature_decay * features.square().sum((1, 2))) / 2

    def select(self, index):
        decays = self.weight_decay[index], self.feature_decay[index]
        return replace(self, weight_decay=decays[0], feature_decay=decays[1])


def answers(config):
    shape = config["problem"]
    return torch.arange(shape["classes"]).repeat_interleave(shape["per_class"])


def build(configs, device="cpu"):
    decays = torch.tensor([[c["weight_decay"], c["feature_decay"]] for c in configs]).double()
    targets = torch.nn.functional.one_hot(answers(configs[0])).T.double()
    return ReLU(targets, configs[0]["problem"]["dim"], decays[:, 0], decays[:, 1])
