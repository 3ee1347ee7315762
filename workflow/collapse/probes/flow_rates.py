"""What the exact rates along the central-path flow are made of (Tirer et al. 2023, Eq. 4)."""

from collections.abc import Iterator, Mapping
from typing import Any

from collapse.probes import Reading, State
from collapse.probes.response import problem_of


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what W = W*(H), the best classifier of the features, does to their two parts.

    On layer ``H1``: ``within_logits``, ||W H_w||_F^2/(K n) of the within-class part H_w, and
    ``between_growth``, tr(P G (I - G))/K with G = W M of the class means M and P = I - 11^T/K.
    """
    problem = problem_of(state, "flow_rates")
    features = state.features.T.unsqueeze(0)
    means, weights = problem.weights(features)
    within = features - means.repeat_interleave(problem.samples_per_class, 2)
    yield "H1", "within_logits", (weights @ within).square().sum().item() / problem.total
    logits = (weights @ means)[0]
    growth = logits @ (-logits).diagonal_scatter(1 - logits.diagonal())
    # P only takes the mean of each column away.
    growth = growth - growth.mean(0)
    yield "H1", "between_growth", growth.trace().item() / problem.classes
