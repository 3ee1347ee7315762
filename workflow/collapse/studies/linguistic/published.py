"""What the released models of Wu & Papyan 2024 measure: of the CSV of their code.

Computed from artifacts/lc-2024_10_24.csv of github.com/rhubarbwu/linguistic-collapse at 9e25020
(230 models). Its CDNV has exponent 2; its NC4 is an agreement, 1 less ours, of which the sign of a
correlation follows here.
"""

CLASSES = 29_233
"""Tokens that occur in the training text."""
WIDEST = 1024
"""Features of the widest models."""
ETF_ERROR = (1.375, 1.402)
"""Range of the ETF error of the models."""
EPOCHS = 10
"""Of the models that are trained longest."""
SEEDS = 20
"""Runs at one size."""

SPEARMAN = {
    "CDNV_2": 0.967,
    "log_norm_variance_unweighted": 0.59,
    "GNC2_log_variance_unweighted": 0.794,
    "duality_cosine_mean_unweighted": 0.33,
    "duality_cosine_variance_unweighted": 0.807,
    "NC4_held_out": 0.981,
}
"""Spearman's correlation with validation loss, of 60 checkpoints of 10 epochs at decay 5e-4."""

PEARSON = {
    "CDNV_2": (0.463, 0.040),
    "log_norm_variance_unweighted": (0.18, 0.44),
    "GNC2_log_variance_unweighted": (0.481, 0.032),
    "duality_cosine_mean_unweighted": (-0.633, 0.003),
    "duality_product_variance_unweighted": (-0.761, 1e-4),
    "NC4_held_out": (0.685, 9e-4),
}
"""Pearson's correlation with validation loss and its p, of 20 seeds of 2 blocks and width 768."""
