"""Dang et al., "Neural Collapse in Deep Linear Networks" (ICML 2023): the imbalanced case."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.moving_classes import PROJECTION

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
                "Gradient descent over free features in d dimensions of K classes of unequal "
                "sizes n and a linear head of M layers, against the step. NC1 is the spread "
                "within classes against that between them; NC2 with index W and with index H "
                "are the distances of the Gram matrices of the rows of P = W_M ... W_1 and of "
                "the class means to those of the general orthogonal frame (GOF) of the run's "
                "decays, NC3 that of the product of P and the class means; duality is the "
                "distance of P to the class means brought to theory's ratios of lengths. All "
                "are zero at the optimum. The last panel is the relative gap of the loss to its "
                "closed-form optimum. Lines are medians over seeds, bands their range; what "
                "lies in the grey areas is below the rounding of float64, of which NC1 has the "
                "square."
            ),
        ),
        "gof_lengths": Plot(
            reads=("direct_optimisation",),
            caption=(
                "Lengths of the general orthogonal frame by class size n_k, for M layers: "
                "singular values of W_1, given to the classes by size, norms of the rows of the "
                "product P = W_M ... W_1 and of the class means of the features, at the last "
                "step (points, medians over seeds), and the closed form (dashed, for a class of "
                "any size among these N samples). Below, the largest relative error over seeds; "
                "what lies in the grey areas is below the rounding of float64."
            ),
        ),
        "minority_collapse": Plot(
            reads=("minority_collapse",),
            caption=(
                "Norm of the mean logits of each class of n_k samples, P times the class mean "
                "of the features, as all decays grow (triangles up) and shrink again (triangles "
                "down); every seed is drawn, larger classes with larger symbols, so that all "
                "are seen where they coincide. The abscissa is the geometric mean of the decays "
                "of the M layers and of the features. Dashed: the global optimum. Dotted: the "
                "local minimum beyond it (M >= 2). Vertical lines: each class's critical decay, "
                "from which on it is zero at the global optimum. Each sweep goes on from where "
                "it stood at the decay before, and so follows a local minimum while there is "
                "one."
            ),
        ),
        "geometry": Plot(
            reads=("direct_optimisation", "frames", "network_mlp"),
            caption=(
                "Above: Gram matrices of the class means and of the rows of P = W_M ... W_1, of "
                "the first seed at the end of training at M = 3 layers (the smallest M where "
                "there is no 3), over those of the general orthogonal frame, all of Frobenius "
                "norm 1. Below: the vectors of three classes of n samples each in space "
                "(colours) and those of theory (dashed, drawn longer), turned onto each other; "
                "the grey faces only give depth."
            ),
        ),
        "network_mlp": Plot(
            reads=("network_mlp",),
            caption=(
                "A multilayer perceptron without BatchNorm and a linear head of M layers, "
                "trained on real images with classes of unequal sizes, against the epoch. NC1 "
                "is the spread within classes against that between them; NC2 with index W and "
                "with index H are the distances of the Gram matrices of the rows of P = W_M ... "
                "W_1 and of the class means to those of the general orthogonal frame (GOF) of "
                "the run's decays, NC3 that of the product of P and the class means; duality is "
                "the distance of P to the class means brought to theory's ratios of lengths. "
                "All are zero at the optimum. Solid lines are distances to that frame, dotted "
                "ones to the orthogonal frame of equal lengths that balanced classes have; "
                "medians over seeds, bands the range of the former. Bars beyond the last epoch: "
                "the floor of the released code's targets, which are the frame of other decays, "
                "that is their distance from the exact optimum. Circles, where there are any, "
                "mark the first recorded epoch at which the median training error is zero."
            ),
        ),
        "network_shuttle": Plot(
            reads=("network_shuttle",),
            caption=(
                "A multilayer perceptron with a linear head of one layer on Shuttle, which is "
                "imbalanced by nature, at several weight decays lambda_W. Above: mean logit of "
                "each class for itself at the last epoch against its size n_k (points, medians "
                "over seeds, bars their range), the global optimum of free features (dashed) "
                "and the critical class size, below which that is zero (vertical line). Below, "
                "against the epoch: NC1, the spread within classes against that between them, "
                "the distance NC2 of the Gram matrix of the weights to that of the general "
                "orthogonal frame, and the training error; lines are medians over seeds, bands "
                "their range."
            ),
        ),
        "accuracy_by_class": Plot(
            reads=("network_mlp", "network_shuttle"),
            caption=(
                "Accuracy on held-out samples of each class at the last epoch, classes in the "
                "order of their numbers of training samples n_k, one column each. Within a "
                "column stand the networks of all depths M of the head, or of all weight decays "
                "lambda_W, side by side; points are medians over seeds, bars their range."
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
    moving=Moving(
        experiment="direct_optimisation",
        run={"depth": 3},
        curves=(
            Curve("NC1", "NC1"),
            Curve("NC2_GOF", "NC2 (GOF)"),
            Curve("NC3_GOF", "NC3 (GOF)"),
            Curve("loss", "loss", layer="all", predicted="loss"),
        ),
        caption=(
            "Gradient descent over free features of K classes of unequal sizes under a linear head "
            "of M layers: samples (dots) and means (lines from the origin) of the first three "
            "classes, and theory's class means, a general orthogonal frame (GOF), the length of "
            f"whose axes follows from the classes' sizes (dashed). {PROJECTION} Beside it NC1, NC2 "
            "and NC3 to that frame (all zero at the optimum) and the loss with its closed-form "
            "optimum (dashed)."
        ),
    ),
    deviations=(
        "Networks train on imbalanced subsets of Fashion-MNIST in place of CIFAR-10.",
        "Targets are those of the objective that is trained; the released code measures "
        "against decays ten times smaller.",
        "Shuttle, minority collapse under growing decays, layers narrower than the number "
        "of classes and the unpenalised bias are this project's own experiments.",
    ),
)
