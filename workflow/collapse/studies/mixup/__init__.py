"""Mixup's influence on neural collapse (Fisher et al. 2024): where mixed features go."""

from collapse.studies import Plot, Study

_LOSSES = ("network_baseline", "network_mixup", "network_mse_mixup")
_ROWS = (
    "network_mixup", "network_second_data", "network_fashion", "wideresnet_mixup", "vit_mixup",
    "vit_second_data", "vit_fashion",
)  # fmt: skip
_MODELS = (
    "fixed_classifier",
    "fixed_classifier_mse",
    "free_classifier",
    "free_classifier_mse",
    "free_descent",
)
_PICTURE = (
    "Projected on the plane of the classifier's rows of three classes chosen at random (arrows, "
    "rescaled to the features), in one run: pairs of one class in orange, of two classes in blue, "
    "lambda spread over [0, 1]"
)
_SEEDS = "Lines are medians over seeds, bands their range."

STUDY = Study(
    paper=(
        "Fisher, Meng, Papyan: Pushing Boundaries: Mixup's Influence on Neural Collapse. ICLR "
        "2024, arXiv 2402.06171"
    ),
    objective=(
        "1/K^2 sum over ordered pairs of classes of E_lambda[CE(W h, lambda e_i + (1 - lambda) "
        "e_j) + feature_decay/2 ||h||^2] + weight_decay/2 ||W||_F^2, or half the squared error for "
        "CE; lambda from Beta(alpha, alpha). Networks: mean over samples of the loss of the soft "
        "label, plus weight_decay/2 ||W||_F^2 + backbone_decay/2 ||theta||^2"
    ),
    figures={
        "activations": Plot(
            reads=_ROWS,
            caption=(
                "The paper's picture: last-layer features of mixed training images, of networks "
                f"trained by cross-entropy with mixup (named in the figure). {_PICTURE}; BatchNorm "
                "with the statistics of each batch, as in training."
            ),
        ),
        "theory_activations": Plot(
            reads=("fixed_classifier", "fixed_classifier_mse"),
            caption=(
                "The same from the closed form, for a classifier fixed to a simplex ETF (arrows, "
                "rescaled): features of pairs of one class (orange) and of two (blue) that the "
                "optimiser finds, on the closed form (dashed), for cross-entropy under falling "
                "decay of the features and for MSE."
            ),
        ),
        "loss_comparison": Plot(
            reads=_LOSSES,
            caption=(
                "Mixed features of networks trained by cross-entropy, by cross-entropy with mixup "
                f"and by MSE with mixup (alpha = 1). {_PICTURE}."
            ),
        ),
        "amplification": Plot(
            reads=_LOSSES,
            caption=(
                "Left: amplification A(lambda), how far mixed features reach along the decision "
                "boundary over what the convex combination of both ends does, from logits of means "
                "over samples; dashed the closed form, for cross-entropy between kappa = 1e2 and "
                "1e6, and 1 for MSE. Right, at alpha = 1: density along the channel at lambda = "
                "1/2, in units of the convex combination. The paper's own formula was not to be "
                f"had: A is this project's. {_SEEDS}"
            ),
        ),
        "training_evolution": Plot(
            reads=_LOSSES,
            caption=(
                "Mixed features of cross-entropy with mixup over the epochs; below, against the "
                "epoch: A(1/2), R^2 of class-pair means as convex combinations of the class means, "
                "distance of the classifier from a simplex ETF, and NC1 of unmixed training "
                f"images, for each loss. {_SEEDS}"
            ),
        ),
        "earlier_layers": Plot(
            reads=("network_baseline", "network_mixup"),
            caption=(
                "Mixed features at each layer, averaged over the image, in the plane of three "
                "classes' means (of the last layer, of their classifier), without mixup and with; "
                "below, A(1/2) and R^2 of the convex combination by layer, logits of hidden layers "
                "being products with the centred class means. Points are medians over seeds, bars "
                "their range."
            ),
        ),
        "calibration": Plot(
            reads=(*_LOSSES, "network_fixed_etf"),
            caption=(
                "On held-out images: reliability (accuracy against confidence, of 15 bins those "
                "with 10 samples or more), the expected calibration error and mean confidence less "
                "accuracy (signed), and accuracy, without mixup and by alpha, at alpha = 1 also "
                "with a classifier frozen to a simplex ETF. Of MSE accuracy only: a softmax of its "
                "outputs is no confidence. Points are medians over seeds, bars and bands their "
                "range."
            ),
        ),
        "fixed_etf": Plot(
            reads=("network_mixup", "network_fixed_etf"),
            caption=(
                "Mixed features with a trained classifier and with one frozen to a simplex ETF; "
                "A(lambda) of both beside the closed form at the logit gap that each reaches "
                "(dashed, not fitted otherwise); accuracy on held-out images by seed. "
                f"{_SEEDS}"
            ),
        ),
        "ufm": Plot(
            reads=("free_classifier", "free_classifier_mse", "free_descent"),
            caption=(
                "With the classifier free: its distance from a simplex ETF on the way of gradient "
                "descent, and at the optimum (L-BFGS, then Newton), from random starts; and the "
                "norm of its rows against the one at which the penalties balance, weight_decay K "
                "m^2 = feature_decay E||h||^2."
            ),
        ),
    },
    axes=(),
    own_axes={
        **dict.fromkeys(_MODELS, ("feature_decay",)),
        "network_mixup": ("input.alpha",),
    },
    claims_read=(*_MODELS, *_LOSSES, "network_fixed_etf", "network_fashion"),
    optional=frozenset(_ROWS) - {"network_mixup"},
    deviations=(
        "Of the paper its abstract, reviews and one caption were to be had; architecture "
        "and recipe of the networks are those of a course project that reuses its plots, or"
        " this project's choice.",
        "The reference runs train ResNet18 on Fashion-MNIST in place of WideResNet 40-10 on"
        " CIFAR-10.",
        "K, d, the classifier's norm and the decays of the free features are this project's"
        " choice, and so is the recipe of MSE with mixup.",
    ),
)
