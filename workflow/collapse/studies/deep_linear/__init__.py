"""Dang et al., "Neural Collapse in Deep Linear Networks" (ICML 2023): the balanced case."""

from collapse.studies import Plot, Study

STUDY = Study(
    paper=(
        "Dang, Tran, Osher, Tran-The, Ho, Nguyen: Neural Collapse in Deep Linear Networks: From "
        "Balanced to Imbalanced Data. ICML 2023, arXiv 2301.00437"
    ),
    objective=(
        "1/(2N) ||W_M...W_1 H + b - Y||_F^2 + sum_m weight_decay_m/2 ||W_m||_F^2 + "
        "feature_decay/2 ||H||_F^2, summed over classes and all N samples, b not penalised"
    ),
    figures={
        "direct_optimisation": Plot(
            reads=("direct_optimisation",),
            caption=(
                "Direct optimisation over free features: NC1, NC2, NC3 (to the orthogonal frame "
                "without a bias, to the simplex ETF with one) and the relative gap of the loss to "
                "its closed-form optimum against the step of gradient descent, by depth M. Lines "
                "are medians over seeds, bands their range, grey the floor of float64."
            ),
        ),
        "direct_width": Plot(
            reads=("direct_width",),
            caption=(
                "Direct optimisation at the width that the released code's README names, without "
                "a bias: NC1 to NC3 and the relative gap of the loss to its closed-form optimum "
                "against the step, by depth M. Top: from the released initial scale, bottom: from "
                "one that gives layers the norms they have at d = 64. Lines are medians over "
                "seeds, bands their range, grey the floor of float64; runs that diverged are left "
                "out and counted."
            ),
        ),
        "collapse_threshold": Plot(
            reads=("collapse_threshold",),
            caption=(
                "Top singular value of the logits over sqrt(n) as all decays grow and shrink. "
                "Dashed: the global optimum, continuous at M = 1 and with a jump to zero at tau_M "
                "for M >= 2. Dotted: the metastable branch up to its end. Sweeps follow local "
                "minima, hence the hysteresis."
            ),
        ),
        "network_mlp": Plot(
            reads=("network_mlp",),
            caption=(
                "A multilayer perceptron with an M-layer linear head on real images: NC1 to NC3 "
                "of the features and the training error against the epoch. Circles mark the first "
                "recorded epoch of zero training error."
            ),
        ),
        "network_conv": Plot(
            reads=("network_conv",),
            caption=(
                "A convolutional network (named in the figure) with an M-layer linear head on "
                "real images: NC1 to NC3 of the features and the training error against the "
                "epoch. Circles mark the first recorded epoch of zero training error."
            ),
        ),
        "network_vgg": Plot(
            reads=("network_vgg",),
            caption=(
                "VGG16 with an M-layer linear head on real images: NC1 to NC3 of the features and "
                "the training error against the epoch. Circles mark the first recorded epoch of "
                "zero training error."
            ),
        ),
        "network_width": Plot(
            reads=("network_mlp", "network_width"),
            caption=(
                "Multilayer perceptrons of several widths with an M-layer linear head at the end "
                "of training: NC1 to NC3 of the features and the relative gap of the objective to "
                "its closed-form optimum. Points are medians over seeds, bars their range."
            ),
        ),
        "geometry": Plot(
            reads=("direct_optimisation", "frames", "network_mlp", "network_conv"),
            caption=(
                "Gram matrices of the class means (centred where there is a bias), measured at "
                "the end of training above the orthogonal frame or simplex ETF of theory, and the "
                "frames of three classes in space, theory dashed."
            ),
        ),
        "cross_entropy_depth": Plot(
            reads=("cross_entropy_depth",),
            caption=(
                "Cross-entropy losses that gradient descent reaches from random starts, relative "
                "to the best simplex ETF (zero), beside the best cross-polytope (dashed). Below "
                "zero the ETF is not the global optimum."
            ),
        ),
    },
    axes=(
        "problem.depth",
        "problem.bias",
        "problem.class_sizes",
        "sweep.direction",
        "head.depth",
        "head.bias",
    ),
    claims_read=(
        "direct_optimisation",
        "direct_width",
        "global_optimum",
        "collapse_threshold",
        "cross_entropy_depth",
        "network_mlp",
        "network_width",
        "network_conv",
        "network_vgg",
    ),
    own_axes={
        "network_width": ("model.hidden",),
        "direct_width": ("problem.init_scale",),
    },
    optional=frozenset({"network_vgg"}),
    deviations=(
        "Networks train on Fashion-MNIST in place of CIFAR-10, whose images had to be "
        "fetched from their authors; scale paper takes CIFAR-10.",
        "Decays are in the units of the objective that captions state: the released code takes a "
        "mean over classes without the factor 1/2, so that its decays are K/2 times as large here.",
        "Ten seeds of direct optimisation and three of each network, where the released "
        "scripts run one.",
        "ResNet18 and VGG16 have a last-layer bias and train in bf16, which is this "
        "project's choice.",
        "The sweeps over decays, the second solver and the search for what cross-entropy "
        "reaches are this project's own experiments.",
    ),
)
