"""Perturbation analysis of neural collapse (Tirer et al. 2023): features held near a matrix."""

from collapse.studies import Plot, Study

_SEEDS = "Points are medians over seeds, bars their range."
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
                "The central-path flow from random features, one line per seed: NC1_ratio and the "
                "traces of both covariances freed of the decay of the features, which theory says "
                "are monotone; the trace between classes itself, NC1 and NC2, each over its "
                "largest value, which need not be; and the slope of ln NC1_ratio between "
                "neighbouring records (points) against the exact rate (dashed)."
            ),
        ),
        "beta_ladder": Plot(
            reads=("beta_ladder", "flow"),
            caption=(
                "The minimiser near a random H_0 for falling beta beside the flow from the same "
                "H_0 at time 1/beta, one colour per seed: NC1_ratio of both, and their distance, "
                "which falls as 1/beta^2 with the constant 1/2 ||J V|| of the flow at H_0 (dashed; "
                "V its velocity, J the derivative of V)."
            ),
        ),
        "response_spectrum": Plot(
            reads=("response", "generic_response"),
            caption=(
                "The derivative F of the minimiser by H_0. Left and middle: singular values of "
                "the block of one class at a collapsed H_0, measured from second derivatives, for "
                "several feature decays at two beta; dashed the closed form. Right, at an H_0 that "
                "is not collapsed: what F leaves of the minimiser's change, over the size of the "
                "change of H_0 squared, which tends to a constant."
            ),
        ),
        "regularisation": Plot(
            reads=("near_collapse", "far_from_collapse"),
            caption=(
                "How doubling and halving each decay changes NC1_ratio of the minimiser over that "
                "of H_0. Left near a collapsed optimum, re-derived for the decays of each arm, at "
                "equal relative noise (dashes: closed form); middle and right far from collapse, "
                f"at one H_0 for all arms and two beta. {_SEEDS}"
            ),
        ),
        "depthwise_mlp": Plot(
            reads=("layerwise_mlp", "end_to_end_mlp"),
            caption=(
                "NC1 and NC1_ratio of every hidden layer's features on the training set, of a "
                "network whose layers are trained one after the other, each under a linear head of "
                "its own on frozen layers, and of the same network trained end to end; and the "
                "training error of each head. Width, loss and epochs are this project's choice: "
                "the paper's are in an appendix that was not to be had. Points are medians over "
                "seeds, bands their range."
            ),
        ),
        "intermediate_features": Plot(
            reads=("intermediate_features", "end_to_end_mlp"),
            caption=(
                "An extension, not in the paper: features of a hidden layer of a network trained "
                "end to end are H_0, from which the minimiser moves away as beta falls. NC1 and "
                "NC2 of the minimiser, of H_0 (triangles left) and of the network's next layer "
                "(right); its likeness to that next layer, beside that of H_0. Points are medians "
                "over seeds, bands their range."
            ),
        ),
        "resnet_weight_decay": Plot(
            reads=_RESNETS,
            caption=(
                "A convolutional network (named in the figure) on real images under weight decay, "
                "a row for each loss of which more than one arm was run: NC1 and NC2 of the "
                "features and the training error against the epoch, for the baseline and with the "
                "decay of the last layer (FC) or of everything before it (features) doubled or "
                "left out. Lines are medians over seeds, bands their range. Circles mark the "
                "first recorded epoch at which the median training error is zero."
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
    deviations=(
        "Networks train on Fashion-MNIST in place of CIFAR-10.",
        "Width, loss, optimiser and epochs of the networks trained layer by layer stand in "
        "an appendix that was not to be had; they are this project's choice.",
        "Features of hidden layers as where the problem's own are held is an extension that"
        " the paper does not have.",
    ),
)
