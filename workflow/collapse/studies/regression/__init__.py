"""Andriopoulos et al., "The Prevalence of Neural Collapse in Neural Multivariate Regression"."""

from collapse.studies import Plot, Study

_DECAY = ("reacher", "swimmer", "hopper")
_BIASES = ("reacher_biases", "swimmer_biases", "hopper_biases")
_FEATURES = ("reacher_features", "swimmer_features", "hopper_features")
_NORMS = ("reacher_norms", "swimmer_norms")
_OWN_DATA = "Demonstrations are of this project's own experts, not the paper's."
_BAND = "Lines are medians over seeds, bands their range, grey the floor of float32."

STUDY = Study(
    paper=(
        "Andriopoulos, Dong, Guo, Zhao, Ross: The Prevalence of Neural Collapse in Neural "
        "Multivariate Regression. NeurIPS 2024, arXiv 2409.04180"
    ),
    objective=(
        "1/(2M) ||W H + b - Y||_F^2, M samples, plus weight_decay/2 ||theta||^2 over all weights "
        "of the network or, of free and of UFM-type penalised features, weight_decay/2 ||W||_F^2 + "
        "feature_decay/(2M) ||H||_F^2, a mean over samples; b not penalised"
    ),
    figures={
        "nrc": Plot(
            reads=_DECAY,
            caption=(
                "Networks under the largest weight decay that keeps all directions of the targets, "
                "with and without a ReLU before W, against the epoch: NRC1 and NRC2 of unit-norm "
                "features as the authors compute them (h not centred) and of centred ones, NRC3 at "
                "the gamma that "
                "is best for the last W, mean squared error and R2 (cut off below -0.3). Where R2 "
                f"is near zero the features follow next to nothing. {_OWN_DATA} {_BAND}"
            ),
        ),
        "explained_variance": Plot(
            reads=_DECAY,
            caption=(
                "Shares of the features' variance along their first five principal components at "
                "the last epoch, by weight decay, with and without a ReLU before W. Dashed "
                "vertical: the number n of targets, to which collapsed features are confined. "
                f"Points are medians over seeds, bars their range. {_OWN_DATA}"
            ),
        ),
        "gamma": Plot(
            reads=_DECAY,
            caption=(
                "NRC3 of the last W as a function of gamma, relative to the smallest eigenvalue "
                "of the targets' covariance, at the largest weight decay that keeps all directions "
                "of the targets: one line per seed, a point at its minimum in closed form. Grey "
                f"ticks: the minima that the paper reports of its own data. {_OWN_DATA}"
            ),
        ),
        "weight_decay": Plot(
            reads=(*_DECAY, *_BIASES),
            caption=(
                "NRC1 to NRC3 as the authors compute them for a range of weight decays, with a "
                "ReLU before W; NRC3 at the gamma that is best for each run's last W. Below, at "
                "the last epoch against the decay, NRC1 in both variants (h not centred, centred) "
                "and R2 on training and held-out samples, with and without that ReLU. "
                f"Diamonds: biases decayed too, as in the released code. {_OWN_DATA} {_BAND}"
            ),
        ),
        "ufm_regularisation": Plot(
            reads=_FEATURES,
            caption=(
                "Networks of which only W and the features are penalised, with the same decay, "
                "without a ReLU before W: NRC1, NRC2 and NRC3 at gamma = c (the product of the "
                "two decays) against the epoch; below, at the last epoch against c, the squared "
                "error summed over targets and the relative distance of the Gram matrix of W to "
                f"that of the closed form. Dashed: theory, no fit. {_OWN_DATA} {_BAND}"
            ),
        ),
        "norms": Plot(
            reads=_NORMS,
            caption=(
                "Norms of the rows of W and root mean square norm of the features against the "
                "feature decay at fixed weight decay (points, median and range over seeds); "
                "dashed: theory, no fit. Shaded: the paper's sweep, in which the rows only grow. "
                "Vertical lines: where the share of each principal direction of the targets "
                "peaks, at a quarter of the c that extinguishes it. Triangles: values below the "
                f"axis. {_OWN_DATA}"
            ),
        ),
        "whitened_residuals": Plot(
            reads=("reacher", "reacher_features"),
            caption=(
                "Residuals of both targets on up to 250 training samples before and after "
                "training, under weight decay on all weights with a ReLU before W (above) and "
                "under decay of W and the features only (below), coloured by the angle of the "
                "whitened target z. In the second case theory has residuals -sqrt(c) z: white, "
                "opposite to z. Dashed: its circles at lengths 1 and 2 of z. Correlation and "
                "eigenvalue ratio are those of the residuals' second moments over all samples. "
                f"One seed. {_OWN_DATA}"
            ),
        ),
        "ufm_theory": Plot(
            reads=("free_features", "no_decay"),
            caption=(
                "Free features solved to the optimum, for two covariances of correlated targets: "
                "eigenvalues of the Gram matrix of W, loss and variance shares of the features "
                "(points, every seed, with a bias and without) against the product c of the "
                "decays; dashed: closed form. Vertical lines: eigenvalues of the covariance, where "
                "directions collapse. Dotted: the paper's formula between them, with the first "
                "columns of a matrix root, which holds for diagonal covariances only. Last column: "
                "NRC1 against the step without any decay, by scale of the start, and the distance "
                "of the Gram matrix of W to either formula."
            ),
        ),
    },
    axes=("model.ending", "weight_decay"),
    own_axes={
        "reacher_norms": ("feature_decay",),
        "swimmer_norms": ("feature_decay",),
        "free_features": ("problem.target_covariance", "problem.bias"),
        "no_decay": ("problem.init_scale",),
    },
    claims_read=(
        *_DECAY,
        *_BIASES,
        *_FEATURES,
        *_NORMS,
        "free_features",
        "no_decay",
    ),
)
