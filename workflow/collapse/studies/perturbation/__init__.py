"""Perturbation analysis of neural collapse (Tirer et al. 2023): features held near a matrix."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.moving_classes import PROJECTION

_SEEDS = "Points are medians over seeds, bars their range."
_RATIO = (
    "The NC1 ratio is tr Sigma_W / tr Sigma_B of the covariances of the features within and "
    "between classes."
)
_METRICS = (
    "NC1 (tr(Sigma_W Sigma_B^+)/K, of the features' covariances within and between K classes) and "
    "NC2 (the distance of the Gram matrix of their centred class means from that of a simplex ETF, "
    "both of norm 1)"
)
_RESNETS = ("resnet_mse", "resnet_mse_features", "resnet_ce", "resnet_ce_features")

_DECAYS = ("weight_decay", "feature_decay")

STUDY = Study(
    paper=(
        "Tirer, Huang, Niles-Weed: Perturbation Analysis of Neural Collapse. ICML 2023, arXiv "
        "2210.16658"
    ),
    objective=(
        "min over W of 1/(2Kn) ||W H - Y||_F^2 + weight_decay/(2K) ||W||_F^2, plus "
        "feature_decay/(2Kn) ||H||_F^2 + beta/(2Kn) ||H - H_0||_F^2; K classes of n samples, no "
        "bias; the flow is dH/dt = -K n grad L(H) without the last term. Networks: 1/(2N) ||Z - "
        "Y||_F^2 or cross-entropy, plus weight_decay/2 ||W||_F^2 + backbone_decay/2 ||theta||^2"
    ),
    figures={
        "flow": Plot(
            reads=("flow",),
            caption=(
                "The central-path flow dH/dt = -K n grad L(H), L the objective without beta, "
                "from random features, a line for each seed. Sigma_W and Sigma_B are the "
                "covariances of the features within and between classes, the NC1 ratio is tr "
                "Sigma_W / tr Sigma_B, and lambda_H is the feature decay, of which the factor "
                "exp(2 lambda_H t) frees the traces. The upper row shows what theory (Theorem 3.1) "
                "says is monotone, and how fast ln of the NC1 ratio falls: points are slopes "
                "between neighbouring records, dashed is the exact rate. The lower row shows what "
                "need not be monotone: tr Sigma_B as it is, and as fractions of their largest "
                f"values {_METRICS}."
            ),
        ),
        "beta_ladder": Plot(
            reads=("beta_ladder", "flow"),
            caption=(
                "The minimiser H of the objective, held near a random H_0 by beta (points, "
                "one for each seed and beta), beside the flow from the same H_0 at time t = 1/beta "
                f"(lines). {_RATIO} The right panel shows the Frobenius distance between the two, "
                "over half the norm of J V, V being the flow's velocity at H_0 and J the "
                "derivative of V by H; dashed is its limit for large beta, which is 1/beta^2."
            ),
        ),
        "response_spectrum": Plot(
            reads=("response", "generic_response"),
            caption=(
                "The derivative F of the minimiser H by H_0, the matrix near which beta holds it. "
                "Left and middle, at a collapsed H_0: beta (1 - s) for each singular value s "
                "(sigma_i in the figure, numbered from the largest) of F_kk, the block of F of the "
                "samples of one class, measured from second derivatives, one colour for each "
                "feature decay lambda_H; dashed is the closed form. To first order in 1/beta the "
                "height does not depend on beta. Right, at an H_0 that is not collapsed: what F "
                "leaves of the minimiser's change dH, over the squared size of the change dH_0. "
                "Points are medians over seeds."
            ),
        ),
        "regularisation": Plot(
            reads=("near_collapse", "far_from_collapse"),
            caption=(
                "The NC1 ratio of the minimiser over that of H_0, the matrix near which beta holds "
                "it (out / in), where the decay of the weights, lambda_W, or of the features, "
                "lambda_H, is halved or doubled, over the same at the baseline; the grey line is "
                f"no change. {_RATIO} Left H_0 is near a collapsed optimum, that of each arm's own "
                "decays, with equal relative noise; dashed is the closed form. In the others H_0 "
                "is random, far from collapse, and the same for all arms. A panel whose changes "
                f"are too small for the common axis has them in a window of its own scale. {_SEEDS}"
            ),
        ),
        "depthwise_mlp": Plot(
            reads=("layerwise_mlp", "end_to_end_mlp"),
            caption=(
                "NC1 and NC1 ratio of the features of each hidden layer on the training set: of a "
                "network whose layers are trained one after the other, each under a linear head "
                "of its own on frozen layers, and of the same network trained end to end; and the "
                "training error of each head. NC1 is tr(Sigma_W Sigma_B^+)/K of the features' "
                "covariances within and between K classes, the NC1 ratio tr Sigma_W / tr Sigma_B. "
                "Width, loss and epochs are this project's choice: the paper's are in an appendix "
                "that was not to be had. Points are medians over seeds, bands their range."
            ),
        ),
        "intermediate_features": Plot(
            reads=("intermediate_features", "end_to_end_mlp"),
            caption=(
                "An extension, not in the paper: H_0 are the features of a hidden layer of a "
                "network trained end to end, one colour for each layer, and the minimiser of the "
                "objective moves away from them as beta, which holds it there, falls. Above "
                f"are {_METRICS}: of the minimiser (lines), of H_0 (triangles that point left) and "
                "of the network's next layer (right). Below is the minimiser's likeness to that "
                "next layer, and that of H_0 (triangles): the linear CKA, at most 1, and the "
                "squared Procrustes distance of centred features of norm 1. Points are medians "
                "over seeds, bands their range."
            ),
        ),
        "resnet_weight_decay": Plot(
            reads=_RESNETS,
            caption=(
                "A convolutional network (named in the figure) on real images under weight decay, "
                "a row for each loss of which more than one arm was run, against the epoch: "
                f"{_METRICS} of the features before the last layer, and the training error. "
                "Against the baseline the decay of the last layer (FC) or of everything before it "
                "(features) is doubled (2x) or left out (zero). Circles mark the first recorded "
                "epoch at which the median training error is zero. Lines are medians over seeds, "
                "bands their range."
            ),
        ),
    },
    axes=(),
    own_axes={
        "flow": _DECAYS,
        "flows": ("problem.classes", "problem.dim", *_DECAYS),
        **dict.fromkeys(
            ("beta_ladder", "response", "generic_response", "near_collapse", "far_from_collapse"),
            ("problem.beta", *_DECAYS),
        ),
        "intermediate_features": ("problem.beta", "start.from_layer"),
        **dict.fromkeys(_RESNETS, ("weight_decay", "backbone_decay")),
    },
    claims_read=(
        "flow",
        "flows",
        "beta_ladder",
        "response",
        "generic_response",
        "near_collapse",
        "far_from_collapse",
        "layerwise_mlp",
        "end_to_end_mlp",
        "intermediate_features",
        *_RESNETS,
    ),
    moving=Moving(
        experiment="flow",
        run={},
        curves=(
            Curve("NC1_ratio", "NC1 ratio"),
            Curve("trace_within", "tr Sigma_W"),
            Curve("trace_between", "tr Sigma_B"),
            Curve("NC2_OF", "NC2 (OF)"),
        ),
        caption=(
            "The central-path flow from random features: samples (dots) and means (lines from the "
            "origin) of the first three classes, and the class means of the minimiser, an "
            f"orthogonal frame of known length (dashed). {PROJECTION} Beside it the NC1 ratio and "
            "its parts, the traces of the covariances within and between classes, of which theory "
            "says that the ratio falls all the way, and NC2, the distance of the Gram matrix of "
            "the class means from that of an orthogonal frame (OF), both of norm 1."
        ),
    ),
    deviations=(
        "Networks train on Fashion-MNIST in place of CIFAR-10.",
        "Width, loss, optimiser and epochs of the networks trained layer by layer stand in "
        "an appendix that was not to be had; they are this project's choice.",
        "Features of hidden layers as where the problem's own are held is an extension that"
        " the paper does not have.",
    ),
)
