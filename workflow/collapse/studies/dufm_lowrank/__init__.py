"""Neural collapse versus low-rank bias (Sukenik et al. 2024): ReLU heads of several layers."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.moving_classes import PROJECTION

_MODEL = (
    "Features H of K classes are free under L layers with ReLUs between them; M_l are the class "
    "means of H_l before its ReLU, sigma, as columns."
)
_SOLUTIONS = (
    "DNC, deep neural collapse, gives each class an axis. The SRG solution takes the classes for "
    "the edges of a complete graph of r vertices: K = r (r - 1)/2"
)
_RANKS = "Ranks count singular values above a hundredth of the largest."
_DECAYS = ("weight_decay",)

STUDY = Study(
    paper=(
        "Sukenik, Lampert, Mondelli: Neural collapse versus low-rank bias: Is deep neural collapse "
        "really optimal? NeurIPS 2024, arXiv 2405.14468"
    ),
    objective=(
        "1/(2N) ||W_L relu(W_(L-1) ... relu(W_1 H)) - Y||_F^2 + sum_l weight_decay_l/2 ||W_l||_F^2 "
        "+ feature_decay/2 ||H||_F^2; H summed over all N = K n samples, no bias, no ReLU on H. "
        "Networks: the same with H what a backbone without decay makes of images"
    ),
    figures={
        "structure": Plot(
            reads=("structures", "descent"),
            caption=(
                f"{_MODEL} {_SOLUTIONS}. A row for each solution: M_(L-1), M_L, and the Gram "
                "matrices of M_L before and behind its ReLU, each over its largest entry. The "
                "first two are closed forms, their losses computed from the parameters; the last "
                "is what gradient descent from random starts, ended by L-BFGS, found, rows in the "
                "order of their largest entry's class. Rows of class means below a hundredth of "
                "the largest entry (dead units) are left out, and L/L_DNC is the loss over that of "
                f"DNC. {_RANKS}"
            ),
        ),
        "training": Plot(
            reads=("descent", "network"),
            caption=(
                "Above, gradient descent over free features, whose last point is what L-BFGS makes "
                "of its end; below, a network on images, named in the figure, with a ReLU head of "
                "as many layers and the same kind of decays. Left, the loss, from where it is near "
                "the closed forms on (dashed): DNC gives each class an axis, the SRG solution "
                "takes the classes for edges of a complete graph; a network's features are not "
                "free, and its loss is the mean over an epoch. Middle, the NC1 ratio, the trace of "
                "the covariance within classes over that between them, layer by layer before the "
                "ReLU. Right, the singular values of the class means M_l at the end, each over the "
                "largest; those above the dotted line count for the rank. Lines are medians over "
                "seeds, bands their range."
            ),
        ),
        "ratio": Plot(
            reads=("ratio",),
            caption=(
                f"{_SOLUTIONS}. Its loss over that of DNC against r for L layers, below 1 where "
                "DNC is not optimal: of the parameters themselves (rings), after descent from them "
                "by L-BFGS (dots), and by the closed form at the same decay (dashed)."
            ),
        ),
        "rank": Plot(
            reads=("decay", "width"),
            caption=(
                "Gradient descent over free features from random starts, ended by L-BFGS, with 4 "
                "layers and 10 classes. Left, the rank of the class means before the ReLU, as a "
                "mean of layers 2 to 4, of each run (dots) and over runs (squares), against the "
                "decay, dashed the ranks of DNC and of the SRG solution. Right, the share of runs "
                "that end in DNC, whose loss is DNC's to a part in a thousand and whose layers all "
                "have the rank of the classes, against the width; bars are Wilson's 95 % "
                f"intervals. {_RANKS}"
            ),
        ),
        "small_K": Plot(
            reads=("few_classes", "fifteen_classes"),
            caption=(
                f"{_MODEL} For some K and L the lowest end of many random starts. Above, its "
                "squared error (fit), its penalties and its loss, each over the same of DNC, which "
                "gives each class an axis. Below, M_(L-1), M_L and the Gram matrix of the former, "
                "each over its largest entry, without rows below a hundredth of that, and rows in "
                "the order of their largest entry's class."
            ),
        ),
    },
    axes=(),
    own_axes={
        "structures": ("start.graph_classes",),
        "ratio": ("problem.depth", "problem.classes"),
        "blocks": ("problem.depth", "start.graph_classes"),
        "decay": _DECAYS,
        "width": ("problem.widths",),
        "few_classes": ("problem.classes",),
        "two_layers": ("problem.classes",),
        "two_classes": ("problem.depth",),
    },
    claims_read=(
        "structures",
        "ratio",
        "blocks",
        "near_dnc",
        "generic_search",
        "descent",
        "decay",
        "width",
        "few_classes",
        "fifteen_classes",
        "two_layers",
        "two_classes",
        "network",
    ),
    optional=frozenset(
        {
            "structures",
            "blocks",
            "near_dnc",
            "generic_search",
            "decay",
            "width",
            "few_classes",
            "fifteen_classes",
            "two_layers",
            "two_classes",
        }
    ),
    moving=Moving(
        experiment="descent",
        run={},
        curves=(
            Curve("loss", "loss", layer="all", predicted="loss_dnc"),
            Curve("NC1_ratio", "NC1 ratio", layer="H3"),
            Curve("rank", "rank", layer="H3", predicted="rank_dnc"),
        ),
        caption=(
            "Gradient descent over free features, ended by L-BFGS (the last frame): samples (dots) "
            "and class means (lines from the origin) of the first three classes, as the inputs of "
            "the last layer but one, before its ReLU, in each frame over the root mean square of "
            "all their norms. Dashed are the class means of DNC in the same unit, three "
            f"orthogonal axes. {PROJECTION} Beside it the loss, with that of DNC; "
            "the ratio of the traces of covariances within classes and between them, which goes "
            "to 0; and the rank of the class means, with that of DNC: samples of a class collapse, "
            "but not to DNC."
        ),
    ),
    deviations=(
        "Networks train on Fashion-MNIST in place of CIFAR-10.",
        "Of the paper the abstract and the captions of its figures were to be had, neither its "
        "text nor its code: samples a class, starts and steps of gradient descent, the network's "
        "momentum, batches, epochs and schedule, and the decay and widths of most figures are this "
        "project's choice.",
        "The SRG solution is reconstructed from the caption of the paper's Fig. 1 and the "
        "thresholds of its theorem, which it gives exactly.",
        "Gradient descent ends in L-BFGS before ranks are counted: at the paper's rate it goes on "
        "oscillating about kinks of the ReLU.",
        "How the paper measures the variability within classes and which threshold its ranks have "
        "is not known: here the ratio of traces, and a hundredth of the largest singular value.",
    ),
)
