"""Dang et al., "Neural Collapse in Deep Linear Networks" (ICML 2023): the imbalanced case."""

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
                "Direct optimisation over free features of unequal classes: NC1, the distances of "
                "weights (NC2_W), class means (NC2_H), their product (NC3) and their duality to "
                "the general orthogonal frame of these decays, and the relative gap of the loss "
                "to its closed-form optimum against the step, by depth M. Lines are medians over "
                "seeds, bands their range, grey the floor of float64."
            ),
        ),
        "gof_lengths": Plot(
            reads=("direct_optimisation",),
            caption=(
                "Lengths of the general orthogonal frame by class size: singular values of W_1, "
                "norms of the rows of the product P and of the class-mean features, measured at "
                "the last step (points, median over seeds) against the closed form (dashed, for "
                "any class size at this N). Below, the largest relative error over seeds."
            ),
        ),
        "minority_collapse": Plot(
            reads=("minority_collapse",),
            caption=(
                "Norm of each class's mean logits as all decays grow (triangles up) and shrink "
                "(down). Dashed: the global optimum. Dotted: the local minimum beyond it. Vertical "
                "lines: each class's critical decay. Classes vanish one after another, gradually "
                "at M = 1 and with a jump at M >= 2, where sweeps follow local minima."
            ),
        ),
        "geometry": Plot(
            reads=("direct_optimisation", "frames", "network_mlp"),
            caption=(
                "Gram matrices of the class means and of the rows of the product P at the end of "
                "training above those of the general orthogonal frame, and the frames of three "
                "classes in space, of 100 samples each and of 200, 100 and 50, theory dashed."
            ),
        ),
        "network_mlp": Plot(
            reads=("network_mlp",),
            caption=(
                "A multilayer perceptron without BatchNorm and an M-layer linear head on an "
                "imbalanced set of real images: NC1, distances to the general orthogonal frame of "
                "the run's own decays (solid) and to the orthogonal frame of balanced classes "
                "(dotted), and the training error against the epoch. Short bars at the right: the "
                "floor of the released code's targets at the exact optimum of its own loss. "
                "Circles mark the first recorded epoch of zero training error."
            ),
        ),
        "network_shuttle": Plot(
            reads=("network_shuttle",),
            caption=(
                "A multilayer perceptron on Shuttle, which is imbalanced by nature, at three "
                "decays. Above: mean logit of each class for itself at the last epoch against its "
                "size, theory dashed, the critical class size as a vertical line. Below: NC1, the "
                "distance of the weights to the general orthogonal frame, and the training error."
            ),
        ),
        "accuracy_by_class": Plot(
            reads=("network_mlp", "network_shuttle"),
            caption=(
                "Accuracy on held-out samples by the class's number of training samples, at the "
                "last epoch: points are medians over seeds, bars their range. In the legend: mean "
                "over the classes of more (majority) and of fewer samples (minority) than N/K."
            ),
        ),
    },
    axes=("problem.depth", "sweep.direction"),
    own_axes={
        "frames": ("problem.class_sizes",),
        "critical_size": ("weight_decay",),
        "network_mlp": ("head.depth",),
        "network_shuttle": ("weight_decay",),
    },
    claims_read=(
        "direct_optimisation",
        "minority_collapse",
        "critical_size",
        "bottleneck",
        "last_layer_bias",
        "released_normalisation",
        "network_mlp",
        "network_shuttle",
    ),
    deviations=(
        "Networks train on imbalanced subsets of Fashion-MNIST in place of CIFAR-10.",
        "Targets are those of the objective that is trained; the released code measures "
        "against decays ten times smaller.",
        "Shuttle, minority collapse under growing decays, layers narrower than the number "
        "of classes and the unpenalised bias are this project's own experiments.",
    ),
)
