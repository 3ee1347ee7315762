"""Perturbation analysis of neural collapse (Tirer et al. 2023): features held near a matrix."""

from collapse.studies import Plot, Study

STUDY = Study(
    paper='Tirer, Huang, Niles-Weed, "Perturbation Analysis of Neural Collapse", ICML 2023',
    objective="x",
    figures={},
    axes=(),
    claims_read=(),
)
