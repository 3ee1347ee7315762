"""What the figures of the study share: names, colours and words."""

from collapse.plotting import category_colours

RATIO = "NC1 ratio"
"""What figures call tr Sigma_W / tr Sigma_B."""
MINIMISER, FLOW = category_colours(["minimiser", "flow"]).values()
"""Colours of the minimiser held near H_0, and of the flow from there."""
