"""Andriopoulos et al., "The Prevalence of Neural Collapse in Neural Multivariate Regression"."""

from collapse.studies import Curve, Moving, Plot, Study

_DECAY = ("reacher", "swimmer", "hopper")
_PARTLY = ("reacher_partly", "swimmer_partly", "hopper_partly")
_FEATURES = ("reacher_features", "swimmer_features", "hopper_features")
_NOISY = ("reacher_noisy", "swimmer_noisy", "hopper_noisy")
_NORMS = ("reacher_norms", "swimmer_norms")
_OWN_DATA = "Demonstrations are of this project's own experts, not the paper's."
_SYMBOLS = (
    "W is the last layer's weight, b its bias, h its input (the features), n the number of "
    "targets, M that of training samples."
)
_BAND = "Lines are medians over seeds and bands their range."
_FLOOR = "Grey at the bottom is what the rounding of float32 leaves."
_WORKING = (
    "the largest weight decay that keeps all directions of the targets (in every run R2 is above "
    "0 and the features' n-th principal component holds a thousandth of their variance)"
)
_NRC3 = (
    "NRC3 is the squared distance of the Gram matrix of W from the root of the targets' covariance "
    "less root gamma times the identity, both of norm 1"
)
_NRC = (
    "NRC1 is the share of the unit-norm features' squared length outside the plane of their first "
    f"n principal components, NRC2 that outside the span of the rows of W. {_NRC3}"
)

STUDY = Study(
    paper=(
        "Andriopoulos, Dong, Guo, Zhao, Ross: The Prevalence of Neural Collapse in Neural "
        "Multivariate Regression. NeurIPS 2024, arXiv 2409.04180"
    ),
    objective=(
        "1/(2M) ||W H + b - Y||_F^2, M samples, plus weight_decay/2 ||theta||^2 over all "
        "parameters, b among them, or, of free and of UFM-type penalised features, "
        "weight_decay/2 ||W||_F^2 + feature_decay/(2M) ||H||_F^2, a mean over samples, b not "
        "penalised; n times the released objective, whose decays are 1/n of these"
    ),
    figures={
        "nrc": Plot(
            reads=_DECAY,
            caption=(
                f"NRC1 to NRC3, mean squared error and R2 of networks under {_WORKING}, with and "
                "without a ReLU before W, against the epoch. The first row is as the authors "
                "compute it, of features that are not centred, the second of centred ones. "
                f"{_NRC}, at the gamma that is best for the last W. R2 is cut off below -0.3; "
                f"where it is near zero the features follow next to nothing. {_SYMBOLS} "
                f"{_OWN_DATA} {_BAND} {_FLOOR}"
            ),
        ),
        "explained_variance": Plot(
            reads=_DECAY,
            caption=(
                "Shares of the features' variance along their first five principal components, "
                "with and without a ReLU before W. The upper panels are against the epoch, under "
                f"{_WORKING}; components beyond the n-th are dotted. The lower ones are at the "
                "last epoch by weight decay on all parameters, set side by side; the vertical "
                "line is behind the n-th component, up to which collapse leaves variance. Lines "
                "and points are medians over seeds, bands and bars their range. W is the last "
                f"layer's weight, n the number of targets, M that of training samples. {_OWN_DATA}"
            ),
        ),
        "gamma": Plot(
            reads=_DECAY,
            caption=(
                "NRC3 of the last W as a function of gamma, in units of the smallest eigenvalue "
                f"(lambda min) of the targets' covariance, under {_WORKING}. {_NRC3}. Each line is "
                "a seed, with a point at its minimum in closed form. Grey ticks are the minima "
                f"that the paper reports of its own data. {_SYMBOLS} {_OWN_DATA}"
            ),
        ),
        "weight_decay": Plot(
            reads=(*_DECAY, *_PARTLY),
            caption=(
                "NRC1 to NRC3 as the authors compute them against the epoch, with a ReLU before "
                f"W, by weight decay on all parameters as in the released code. {_NRC}, at the "
                "gamma that is best for each run's last W. Below, at the last epoch against the "
                "decay, are NRC1 as the authors compute it (of features that are not centred) and "
                "of centred features, and R2 on training and held-out samples, with and without "
                "that ReLU. Diamonds are networks of which weights only are decayed, squares "
                f"those of which all but the head's bias is, smaller without that ReLU. {_SYMBOLS} "
                f"{_OWN_DATA} {_BAND} {_FLOOR}"
            ),
        ),
        "fit": Plot(
            reads=_DECAY,
            caption=(
                "Mean squared error (over samples and targets) and R2 of networks with a ReLU "
                "before W against the epoch, on training and held-out samples, by weight decay on "
                f"all parameters. R2 is cut off below -0.3. {_SYMBOLS} {_OWN_DATA} {_BAND}"
            ),
        ),
        "ufm_regularisation": Plot(
            reads=_FEATURES,
            caption=(
                "Networks of which only W and the features are penalised, with the same decay, "
                "without a ReLU before W. Against the epoch are the mean squared error over "
                "samples and targets, NRC1, NRC2 and NRC3 at gamma = c, the product of both "
                f"decays. {_NRC}. Below, at the last epoch against c, are the mean squared error "
                "and the relative distance of the Gram matrix of W from that of the closed form. "
                "Dashed is theory without a fit, in the first row by decay, as written at each "
                f"line; the lambda j are the eigenvalues of the targets' covariance. {_SYMBOLS} "
                f"{_OWN_DATA} {_BAND}"
            ),
        ),
        "noisy_experts": Plot(
            reads=(*_FEATURES, *_NOISY),
            caption=(
                "Networks with the same decay of W and the features on pairs of experts to whose "
                "actions Gaussian noise is added, as the paper's demonstrations are noisy. The "
                "mean squared error is drawn against the epoch without BatchNorm and with "
                "BatchNorm before each ReLU, and at the last epoch against c, the product of both "
                "decays, beside experts without noise, whose actions can all be predicted. Dashed "
                "is theory, in the first two rows by decay, as written at each line; it minimises "
                "over features of every sample. n is the number of targets, M that of training "
                f"samples. {_OWN_DATA} Lines and points are medians over seeds, bands and bars "
                "their range."
            ),
        ),
        "norms_by_epoch": Plot(
            reads=_NORMS,
            caption=(
                "Root mean square norm of the features h and norms of the rows w of the last "
                "layer's weight W against the epoch, by feature decay at fixed weight decay of W. "
                "Dashed, beyond the last epoch and in the colour of its decay, is the closed form "
                "where it is not 0. n is the number of targets, M that of training samples. "
                f"{_OWN_DATA} {_BAND}"
            ),
        ),
        "feature_space": Plot(
            reads=("reacher_features",),
            caption=(
                "Features h of up to 250 training samples (points, in units of their root mean "
                "square norm) and the rows of W (arrows to twice their length in units of the "
                "longest) before and after training with penalised features, at the largest decay "
                "that keeps both directions of the targets. Grey is the plane of both rows, and "
                "upwards the direction outside it in which the features are longest. Colours are "
                "the angle of the whitened target z, the centred target y divided by the root of "
                "its covariance: collapsed features lie in the plane, in the order of their "
                "targets. W is the last layer's weight, n the number of targets, M that of "
                f"training samples. One seed is shown. {_OWN_DATA}"
            ),
        ),
        "norms": Plot(
            reads=_NORMS,
            caption=(
                "Norms of the rows w of the last layer's weight W and root mean square norm of "
                "the features h against the feature decay at fixed weight decay of W (points, "
                "median and range over seeds). Dashed is theory, without a fit. Shaded is the "
                "paper's sweep, in which it finds that the rows only grow. Vertical lines are "
                "where the share of each principal direction of the targets, of standard "
                "deviation sigma j, peaks: at a quarter of the c, the product of both decays, "
                "that extinguishes it. Triangles are values below the axis. n is the number of "
                f"targets, M that of training samples. {_OWN_DATA}"
            ),
        ),
        "whitened_residuals": Plot(
            reads=("reacher", "reacher_features"),
            caption=(
                "Residuals e of both targets on up to 250 training samples before and after "
                "training, under weight decay on all parameters with a ReLU before W (above) and "
                "under decay of W and the features h only (below). Colours are the angle of the "
                "whitened target z, the centred target y divided by the root of its covariance. "
                "In the second case theory has residuals -sqrt(c) z, c the product of both "
                "decays: white, and opposite to z. Dashed are its circles at lengths 1 and 2 of "
                "z, and in the last panel equality. Correlation and eigenvalue ratio are those of "
                "the residuals' second moments over all samples, 0 and 1 of white ones. One seed "
                f"is shown. {_OWN_DATA}"
            ),
        ),
        "ufm_theory": Plot(
            reads=("free_features", "no_decay"),
            caption=(
                "Free features of M samples in d dimensions, solved to the optimum, for two "
                "covariances of correlated targets with eigenvalues lambda j. Eigenvalues j of "
                "the Gram matrix of W, loss and variance shares of the features along component j "
                "are drawn against the product c of the decays (points, every seed, with a bias "
                "and without); dashed is the closed form. Vertical lines are the eigenvalues of "
                "the covariance, where directions collapse. Dotted is the paper's formula between "
                "them, with the first columns of a matrix root, which holds for diagonal "
                "covariances only. The last column has the relative distance of the Gram matrix "
                "of W from either formula and of the loss from the closed form, by number n of "
                "targets, with the floor of float64 in grey, and NRC1, the share of the unit-norm "
                "features' squared length outside the plane of their first n principal "
                "components, against the step without any decay, with the scale of the start "
                "written at each line."
            ),
        ),
    },
    axes=("model.ending", "weight_decay"),
    own_axes={
        **dict.fromkeys(_PARTLY, ("decayed",)),
        **dict.fromkeys(_NOISY, ("model.normalisation",)),
        "reacher_norms": ("feature_decay",),
        "swimmer_norms": ("feature_decay",),
        "free_features": ("problem.target_covariance", "problem.bias"),
        "no_decay": ("problem.init_scale",),
    },
    claims_read=(
        *_DECAY,
        *_PARTLY,
        *_FEATURES,
        *_NOISY,
        *_NORMS,
        "free_features",
        "no_decay",
    ),
    moving=Moving(
        experiment="whitening",
        run={},
        curves=(
            *(
                Curve(f"residual_covariance[{i},{j}]", label, layer="all")
                for i, j, label in (
                    (0, 0, "variance of the first residual"),
                    (1, 1, "variance of the second"),
                    (0, 1, "covariance of both"),
                )
            ),
            Curve("NRC1", "NRC1"),
            Curve("mse_sum", "squared error", layer="all", predicted="mse_sum"),
        ),
        caption=(
            "Gradient descent over W, a bias and free features for two correlated targets y: the "
            "residuals of single samples, output less target, coloured by the angle of the "
            "whitened target z in six sectors. The plane is that of the two outputs itself, the "
            "same for all frames. Theory (dashed) puts each residual at -sqrt(c) z, c = "
            "weight_decay feature_decay, so that the circles are those of targets with a whitened "
            "length of 1 and of 2; white residuals have equal variances, c each, and no "
            "covariance. Beside it both variances, the covariance, NRC1 (zero at collapse) and the "
            "mean squared error, summed over targets, with its closed form (dashed)."
        ),
    ),
    deviations=(
        "The demonstrations are of experts made here in a simulator, with the paper's "
        "numbers of pairs; the paper's own cannot be had.",
        "The panels of images (CARLA, UTKFace) are left out.",
        "Reference runs take momentum and a higher learning rate for as much training time "
        "as the released code's.",
        "Networks that penalise W and the features train on standardised inputs by Adam.",
    ),
)
