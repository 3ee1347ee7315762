"""Dang et al., "Neural Collapse in Deep Linear Networks" (ICML 2023): the balanced case."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.moving_classes import PROJECTION

STUDY = Study(
    paper=(
        "Dang, Tran, Osher, Tran-The, Ho, Nguyen: Neural Collapse in Deep Linear Networks: From "
        "Balanced to Imbalanced Data. ICML 2023, arXiv 2301.00437"
    ),
    objective=(
        "1/(2N) ||W_M...W_1 H + b - Y||_F^2 or the mean cross-entropy, plus "
        "sum_m weight_decay_m/2 ||W_m||_F^2 + feature_decay/2 ||H||_F^2, summed over classes and "
        "all N samples, b not penalised. Networks: the same, plus backbone_decay/2 ||theta||^2 of "
        "what makes H of images"
    ),
    figures={
        "direct_optimisation": Plot(
            reads=("direct_optimisation",),
            caption=(
                "Gradient descent over free features of K classes and N samples in d dimensions "
                "and a linear head of M layers of that width, against the step. NC1 is the "
                "spread within classes against that between them, NC2 the distance of the class "
                "means' Gram matrix to that of the orthogonal frame (OF, without a bias) or of "
                "the simplex ETF (with a last-layer bias), NC3 that of the product of head and "
                "class means to the same frame, all zero at collapse. The last column is the "
                "relative gap of the loss to its closed-form optimum. Lines are medians over "
                "seeds, bands their range; what lies in the grey areas is below the rounding of "
                "float64, of which NC1 has the square."
            ),
        ),
        "direct_width": Plot(
            reads=("direct_width",),
            caption=(
                "Gradient descent over free features and a bias-free linear head of M layers at "
                "the width d that the released code's README names (less at small scales), "
                "against the step: NC1 to NC3 (all zero at collapse; OF is the orthogonal "
                "frame) and the relative gap of the loss to its closed-form optimum. Each row "
                "starts from another initial scale, the standard deviation of all entries: "
                "above the released code's, below one that gives layers about the norms that "
                "they have at d = 64. Lines are medians over seeds, bands their range, grey "
                "areas what lies below the rounding of float64. Runs that diverged are left out "
                "and counted in the figure."
            ),
        ),
        "collapse_threshold": Plot(
            reads=("collapse_threshold",),
            caption=(
                "Top singular value of the logits Z over the root of the class size n, as all "
                "decays grow (triangles up) and shrink again (triangles down), against the "
                "scaled decay beta/n, beta = M N (N lambda_W1 ... lambda_WM lambda_H)^(1/M) for "
                "M layers and N samples. Symbols are medians over seeds, bars their range. "
                "Dashed: the global optimum, which is zero from tau on. Dotted: the non-zero "
                "branch beyond tau, a local minimum up to tau_loc (M >= 2). Each sweep goes on "
                "from where it stood at the decay before, and so follows a local minimum while "
                "there is one."
            ),
        ),
        "network_mlp": Plot(
            reads=("network_mlp",),
            caption=(
                "A multilayer perceptron with BatchNorm and a linear head of M layers, trained "
                "by Adam on real images, against the epoch. NC1 is the spread within classes "
                "against that between them, NC2 the distance of the class means' Gram matrix to "
                "that of the orthogonal frame (OF, without a bias) or of the simplex ETF (with "
                "a last-layer bias), NC3 that of the product of head and class means to the "
                "same frame, all zero at collapse. Lines are medians over seeds, bands their "
                "range; vertical lines mark epochs after which the learning rate falls. The "
                "metrics and the error are those of the network in evaluation mode, where "
                "BatchNorm takes running averages. The features come out of two BatchNorm "
                "layers in a row. Nearly nothing holds the gain of the first, which Adam takes "
                "down steadily whatever the size of its gradient, and the second undoes that "
                "until the square of the gain nears the second's epsilon. From then on the "
                "features shrink, faster than the running averages follow: a spike of NC2, NC3 "
                "and the error at about the same epoch at all depths and seeds, which is not in "
                "the training loss and not of the schedule."
            ),
        ),
        "network_conv": Plot(
            reads=("network_conv",),
            caption=(
                "A convolutional network, named in the figure, with a linear head of M layers "
                "on real images, against the epoch. NC1 is the spread within classes against "
                "that between them, NC2 the distance of the class means' Gram matrix to that of "
                "the orthogonal frame (OF, without a bias) or of the simplex ETF (with a "
                "last-layer bias), NC3 that of the product of head and class means to the same "
                "frame, all zero at collapse. Lines are medians over seeds, bands their range; "
                "vertical lines mark epochs after which the learning rate falls. The metrics "
                "and the error are those of the network in evaluation mode, where BatchNorm "
                "takes running averages."
            ),
        ),
        "network_vgg": Plot(
            reads=("network_vgg",),
            caption=(
                "VGG16 with a linear head of M layers on real images, against the epoch. NC1 is "
                "the spread within classes against that between them, NC2 the distance of the "
                "class means' Gram matrix to that of the orthogonal frame (OF, without a bias) "
                "or of the simplex ETF (with a last-layer bias), NC3 that of the product of "
                "head and class means to the same frame, all zero at collapse. Lines are "
                "medians over seeds, bands their range; vertical lines mark epochs after which "
                "the learning rate falls. The metrics and the error are those of the network in "
                "evaluation mode, where BatchNorm takes running averages."
            ),
        ),
        "network_width": Plot(
            reads=("network_mlp", "network_width"),
            caption=(
                "Multilayer perceptrons of several hidden widths with a linear head of M "
                "layers, trained on real images, at the last epoch: NC1 to NC3 of the features "
                "(all zero at collapse; NC2 to the orthogonal frame OF without a bias, to the "
                "simplex ETF with one) and the relative gap of the objective to the closed-form "
                "optimum of free features. Points are medians over seeds, bars their range; "
                "depths are drawn side by side, and lines join the widths of one depth."
            ),
        ),
        "geometry": Plot(
            reads=("direct_optimisation", "frames", "network_mlp", "network_conv"),
            caption=(
                "Above: Gram matrices of the class means, centred where there is a bias, of the "
                "first seed at the end of training at M = 3 layers (the smallest M where there "
                "is no 3), over those of the orthogonal frame or the simplex ETF, all of "
                "Frobenius norm 1. Below: the class means of three classes as vectors in space "
                "(colours) and those of theory (dashed, drawn longer), turned onto each other; "
                "the grey faces only give depth."
            ),
        ),
        "cross_entropy_depth": Plot(
            reads=("cross_entropy_depth",),
            caption=(
                "Cross-entropy losses that gradient descent over free features and a linear "
                "head of M layers reaches from random starts, a point for each seed in the "
                "order of their losses, relative to the loss of the best simplex ETF (dashed, "
                "zero), for K classes. Dash-dotted: the best cross-polytope, classes paired as "
                "plus and minus e_i, where theory gives its loss (M >= 2). Where a point lies "
                "below zero, the ETF is not the global optimum."
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
    moving=Moving(
        experiment="direct_optimisation",
        run={"depth": 3, "bias": False},
        curves=(
            Curve("NC1", "NC1"),
            Curve("NC2_OF", "NC2 (OF)"),
            Curve("NC3_product", "NC3"),
            Curve("loss", "loss", layer="all", predicted="loss"),
        ),
        caption=(
            "Gradient descent over free features of K classes under a linear head of M layers: "
            "samples (dots) and means (lines from the origin) of the first three classes, and "
            f"theory's class means (dashed). {PROJECTION} With a last-layer bias the mean of all "
            "class means is taken off. Beside it NC1, NC2 and NC3 (all zero at collapse) and the "
            "loss with its closed-form optimum (dashed)."
        ),
    ),
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
