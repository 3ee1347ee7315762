"""Andriopoulos et al., "The Prevalence of Neural Collapse in Neural Multivariate Regression"."""

from collapse.studies import Plot, Study

_DECAY = ("reacher", "swimmer", "hopper")
_PARTLY = ("reacher_partly", "swimmer_partly", "hopper_partly")
_FEATURES = ("reacher_features", "swimmer_features", "hopper_features")
_NOISY = ("reacher_noisy", "swimmer_noisy", "hopper_noisy")
_NORMS = ("reacher_norms", "swimmer_norms")
_OWN_DATA = "Demonstrations are of this project's own experts, not the paper's."
_BAND = "Lines are medians over seeds, bands their range, grey the floor of float32."

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
                "Shares of the features' variance along their first five principal components, "
                "with and without a ReLU before W: against the epoch at the largest weight decay "
                "that keeps all directions of the targets (those beyond the number n of targets "
                "dashed), and below at the last epoch by weight decay (dashed vertical: n, to "
                "which collapsed features are confined). Lines are medians over seeds, bands and "
                f"bars their range. {_OWN_DATA}"
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
            reads=(*_DECAY, *_PARTLY),
            caption=(
                "NRC1 to NRC3 as the authors compute them for a range of weight decays, with a "
                "ReLU before W; NRC3 at the gamma that is best for each run's last W. Below, at "
                "the last epoch against the decay, NRC1 in both variants (h not centred, centred) "
                "and R2 on training and held-out samples, with and without that ReLU. "
                "All parameters are decayed, as in the released code; diamonds: weights only, "
                f"squares: all but the bias of the head (smaller without that ReLU). {_OWN_DATA} "
                f"{_BAND}"
            ),
        ),
        "fit": Plot(
            reads=_DECAY,
            caption=(
                "Mean squared error (over samples and targets) and R2 of networks with a ReLU "
                "before W against the epoch, on training and held-out samples, by weight decay on "
                f"all parameters. R2 is cut off below -0.3. {_OWN_DATA} Lines are medians over "
                "seeds, bands their range."
            ),
        ),
        "ufm_regularisation": Plot(
            reads=_FEATURES,
            caption=(
                "Networks of which only W and the features are penalised, with the same decay, "
                "without a ReLU before W: the mean squared error (dashed: theory), NRC1, NRC2 and "
                "NRC3 at gamma = c (the product of the two decays) against the epoch; below, at "
                "the last epoch against c, the squared "
                "error summed over targets and the relative distance of the Gram matrix of W to "
                f"that of the closed form. Dashed: theory, no fit. {_OWN_DATA} {_BAND}"
            ),
        ),
        "noisy_experts": Plot(
            reads=(*_FEATURES, *_NOISY),
            caption=(
                "The same networks on pairs of experts to whose actions Gaussian noise is added, "
                "as the paper's demonstrations are noisy: mean squared error against the epoch "
                "without BatchNorm and with BatchNorm before each ReLU (dashed: theory), and at "
                "the last epoch against c beside experts without noise, of whose actions every "
                "one can be predicted. Theory minimises over features of every sample, which a "
                "network that cannot tell noise from state does not reach. "
                f"{_OWN_DATA} Lines and points are medians over seeds, bands and bars their range."
            ),
        ),
        "norms_by_epoch": Plot(
            reads=_NORMS,
            caption=(
                "Mean norm of the features and norms of the rows of W against the epoch, by "
                "feature decay at fixed weight decay; dashed: where theory has the rows' norms "
                f"(not drawn: 0). {_OWN_DATA}"
            ),
        ),
        "feature_space": Plot(
            reads=("reacher_features",),
            caption=(
                "Features h of up to 250 training samples (points, in units of their root mean "
                "square norm) and the rows of W (arrows to twice their length in units of the "
                "longest) before and after training with penalised features, at the largest decay "
                "that keeps both directions of the targets. Grey: the plane of w_1 and w_2; "
                "upwards the direction outside it in which the features are longest. Coloured by "
                "the angle of the whitened target z: collapsed features lie in the plane, in the "
                f"order of their targets. One seed. {_OWN_DATA}"
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
                "training, under weight decay on all parameters with a ReLU before W (above) and "
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
    deviations=(
        "The demonstrations are of experts made here in a simulator, with the paper's "
        "numbers of pairs; the paper's own cannot be had.",
        "The panels of images (CARLA, UTKFace) are left out.",
        "Reference runs take momentum and a higher learning rate for as much training time "
        "as the released code's.",
        "Networks that penalise W and the features train on standardised inputs by Adam.",
    ),
)
