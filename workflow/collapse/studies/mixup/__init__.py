"""Mixup's influence on neural collapse (Fisher et al. 2024): where mixed features go."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.moving_classes import PROJECTION

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
_NAMES = "CE is cross-entropy, MSE the mean squared error"
_PICTURE = (
    "Dots are features of mixed training images of one run, at most 1,500 a panel: the images of a "
    "pair are weighted lambda and 1 - lambda, lambda spread over [0, 1]; pairs of one class are "
    "grey, pairs of two classes dark red. They are projected on the plane of the rows of the "
    "classifier W of three classes chosen at random, about the mean of these classes' means. "
    "Arrows are these rows, rescaled to the length of the class means"
)
_REACH = (
    "A(lambda), the amplification, is u + v of mixed pairs of two classes over its convex "
    "combination between lambda = 0 and 1, u and v being the logits of both classes less the mean "
    "logit of all others: above 1 mixed features lie beyond the convex combination, along the "
    "decision boundary"
)
_OFF = (
    "1 - R^2 is the squared distance of mixed features (means over pairs of classes) from the "
    "convex combination of both ends, over their variance along lambda"
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
                "The paper's picture: last-layer features of networks trained by cross-entropy "
                f"with mixup; titles name network and data. {_PICTURE}; BatchNorm takes the "
                "statistics of each batch, as in training."
            ),
        ),
        "theory_activations": Plot(
            reads=("fixed_classifier", "fixed_classifier_mse"),
            caption=(
                "The same picture of the model: features that are free, under a classifier W fixed "
                "to a simplex ETF (equiangular tight frame). Dots are the features that Newton's "
                "method finds, of pairs of one class (grey) and of two (dark red), in the plane of "
                "three rows of W (arrows, rescaled); dashed lines are the closed form for all "
                "lambda between 0 and 1. lambda_H is the decay of the features, CE cross-entropy "
                "and MSE the mean squared error; panels are scaled to the features of unmixed "
                "classes."
            ),
        ),
        "loss_comparison": Plot(
            reads=_LOSSES,
            caption=(
                "Mixed features of networks trained without mixup (CE), with mixup (CE + mixup), "
                f"and by the squared error with mixup (MSE + mixup), alpha = 1. {_NAMES}; alpha is "
                f"that of lambda's distribution in training, Beta(alpha, alpha). {_PICTURE}."
            ),
        ),
        "amplification": Plot(
            reads=_LOSSES,
            caption=(
                f"Left: amplification against lambda. {_REACH}. The measure is this project's, as "
                "the paper's own was not to be had; logits are of means over samples. Dashed is "
                "the closed form: 1 for MSE, and for CE that of kappa = 10^2 and 10^6, shaded "
                "between them, where kappa = m^2 K / ((K - 1) lambda_H) for K classes, rows of W "
                "of norm m and features of decay lambda_H. Right, at alpha = 1: the density over "
                "single pairs of two classes of u + v at lambda = 1/2 in units of the convex "
                "combination (grey line at 1). In training lambda is drawn from Beta(alpha, "
                f"alpha); {_NAMES}. {_SEEDS}"
            ),
        ),
        "training_evolution": Plot(
            reads=_LOSSES,
            caption=(
                "Above: mixed features of the network trained by cross-entropy with mixup (alpha = "
                f"1) at epochs of its training. {_PICTURE}. Below, against the epoch, for each "
                f"loss: A(1/2) (grey line at 1), 1 - R^2, the distance of W from a simplex ETF "
                "(Frobenius norm of the difference of the Gram matrices, W's centred, both of norm "
                "1), and NC1 of unmixed training images, their variance within classes over that "
                f"between. {_REACH}. {_OFF}. {_NAMES}. {_SEEDS}"
            ),
        ),
        "earlier_layers": Plot(
            reads=("network_baseline", "network_mixup"),
            caption=(
                "Above: mixed features at each layer, averaged over the image, without mixup (CE) "
                f"and with (CE + mixup, alpha = 1). {_PICTURE}; a hidden layer has no classifier, "
                "and its centred class means stand for W. Below: A(1/2) (grey line at 1) and "
                f"1 - R^2 by layer. {_REACH}. {_OFF}. Points are medians over seeds, bars their "
                "range."
            ),
        ),
        "calibration": Plot(
            reads=(*_LOSSES, "network_fixed_etf"),
            caption=(
                "On held-out images, without mixup and with mixup of each alpha, lambda from "
                "Beta(alpha, alpha). Left: accuracy against confidence, in those of 15 bins of "
                "confidence that hold 10 images or more; on the grey diagonal a network is right "
                "as often as it is sure. Middle: the expected calibration error (ECE, filled), the "
                "mean distance from the diagonal, and mean confidence less accuracy (open), above "
                "0 where a network is over-confident. Right: accuracy. Frozen ETF: the classifier "
                "frozen to a simplex ETF, alpha = 1; MSE: trained by the squared error, alpha = 1, "
                "accuracy only, as a softmax of its outputs is no confidence. Points are medians "
                "over seeds, bars and bands their range."
            ),
        ),
        "fixed_etf": Plot(
            reads=("network_mixup", "network_fixed_etf"),
            caption=(
                "Above: mixed features with a trained classifier and with one frozen to a simplex "
                f"ETF, both by cross-entropy with mixup (alpha = 1). {_PICTURE}. Below: A(lambda) "
                "of both beside the closed form (dashed) at the logit gap between a class and the "
                "others that each network reaches on unmixed images, without any fit, and the "
                f"accuracy on held-out images, a point a seed. {_REACH}. {_SEEDS}"
            ),
        ),
        "ufm": Plot(
            reads=("free_classifier", "free_classifier_mse", "free_descent"),
            caption=(
                "The model with the classifier W free, by cross-entropy (CE) or the mean squared "
                "error (MSE), from random starts. Left: distance of W from a simplex ETF "
                "(Frobenius norm of the difference of the Gram matrices, W's centred, both of norm "
                "1) along gradient descent, by CE. Middle: the same at the optimum (L-BFGS, then "
                "Newton's method), by the decay lambda_H of the features; shaded is what lies "
                "below the rounding of float64, zeros are drawn at its edge, and the two "
                "losses are moved apart sideways. Right: norm of the rows of W, and that at which "
                "the penalties balance (dashed), lambda_W K m^2 = lambda_H E||h||^2, with lambda_W "
                "the decay of W, K classes, rows of norm m and features h. Points and line are "
                "medians over seeds, bars and band their range."
            ),
        ),
    },
    axes=(),
    own_axes={
        **dict.fromkeys(_MODELS, ("feature_decay",)),
        "network_mixup": ("input.alpha",),
    },
    moving=Moving(
        experiment="free_descent",
        run={},
        curves=(
            Curve("classifier_ETF", "distance of W from an ETF"),
            Curve("amplification_half", "A(1/2)", predicted="amplification_half"),
            Curve("classifier_norm", "norm of the rows of W", predicted="classifier_norm"),
            Curve("loss", "loss", layer="all"),
        ),
        caption=(
            "Gradient descent over the classifier W and a free feature for each pair of classes "
            "and each lambda, by cross-entropy with mixup: features of the first three classes and "
            "of their pairs (dots, a colour for each class and each pair of two), rows of W (lines "
            "from the origin, to whose length that of features does not compare), and the closed "
            "form of the features for every lambda, W a simplex ETF of the balanced norm (dashed). "
            f"{PROJECTION.replace('means', 'features')} Beside it the distance of W from a simplex "
            "ETF, A(1/2), the length of an even mix over that of the convex combination, with its "
            "closed form (dashed), the norm of the rows of W with the balanced one (dashed), and "
            "the loss."
        ),
    ),
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
