"""Average gradient outer products in deep neural collapse (Beaglehole et al. 2024)."""

from collapse.studies import Curve, Moving, Plot, Study

_RATIO = (
    "The NC1 ratio is tr Sigma_W / tr Sigma_B of the covariances of features within and between "
    "classes, the NC1 of the paper; its code divides it by the number of classes once more."
)
_PLACES = (
    "X are a layer's inputs at norm 1, M^(1/2) X their projection by the square root of the "
    "average gradient outer product (AGOP) M of kernel regression on them, Phi untrained random "
    "features of that, which the next layer gets"
)
_ARMS = (
    "M = I leaves the projection out, a shuffled basis keeps the eigenvalues of M and draws its "
    "eigenvectors at random"
)
_STARTS = (
    "of networks without biases whose weights start at a small and at a large scale (gain, 1 is "
    "Xavier's)"
)

STUDY = Study(
    paper=(
        "Beaglehole, Sukenik, Mondelli, Belkin: Average gradient outer product as a mechanism for "
        "deep neural collapse. NeurIPS 2024, arXiv 2402.13728"
    ),
    objective=(
        "of each layer min over f of ||f(X) - Y||_F^2 + ridge ||f||^2 in the space of the kernel "
        "exp(-||x - z|| / bandwidth), Y of 1 and -1; no objective joins the layers. Networks: "
        "1/(2N) ||Z - Y||_F^2 with the same Y, no decay"
    ),
    figures={
        "collapse_by_layer": Plot(
            reads=("rfm", "rfm_digits"),
            caption=(
                "Collapse of the training samples in deep recursive feature machines, three points "
                f"a layer. {_PLACES}. {_RATIO} NC2 (ETF) is the distance of the Gram matrix of the "
                "centred class means from that of a simplex ETF, both of norm 1. Left with the "
                f"AGOP, then its ablations: {_ARMS}. Right with random Fourier features in place "
                "of ReLU, on digits, with both ablations. Below is the accuracy of the kernel "
                "regression of each layer on samples held out, and (broad, grey) on those it is "
                "fitted to. Lines are medians over seeds, bands their range."
            ),
        ),
        "gram": Plot(
            reads=("rfm",),
            caption=(
                "Cosines between the first five training samples of each class, sorted by class, "
                "less the mean of all samples: of the inputs of layers and, right, of the last "
                f"layer's features. Rows are with the AGOP and its ablations: {_ARMS}. One seed; "
                "the table has each pair once."
            ),
        ),
        "mlp_factors": Plot(
            reads=("mlp",),
            caption=(
                "The NC1 ratio through the hidden layers W = U S V^T at the end of training, "
                f"{_STARTS}: of a layer's input x (circles), of S V^T x, what the singular values "
                "and the right factor make of it (triangles), and of ReLU(W x), the next input, "
                "behind the last layer the features H. "
                f"{_RATIO} Right is by how much its logarithm falls in each layer: at the right "
                "factor, from x to S V^T x, and (pale) at the ReLU, from there to ReLU(W x); the "
                "left factor U turns the space and changes nothing. Points and columns are medians "
                "over seeds, bands and bars their range."
            ),
        ),
        "nfa": Plot(
            reads=("mlp",),
            caption=(
                "The neural feature ansatz (NFA): Pearson's correlation of the entries of W^T W of "
                "each hidden layer and of the AGOP of the network's outputs by that layer's input, "
                f"against the epoch, {_STARTS}. It is not 0 at the start (epoch 0): all entries on "
                "both diagonals are positive. Right the NC1 ratio of the features before the last "
                "layer; circles mark the first recorded epoch at which the median training error "
                f"is zero, where there is one. {_RATIO} Lines are medians over seeds, bands their "
                "range."
            ),
        ),
    },
    axes=(),
    own_axes={
        "rfm": ("projection", "feature_map"),
        "rfm_digits": ("projection", "feature_map"),
        "mlp": ("model.gain",),
    },
    claims_read=("rfm", "rfm_digits", "mlp"),
    moving=Moving(
        experiment="rfm",
        run={"projection": "agop"},
        curves=(
            Curve("NC1_ratio", "NC1 ratio", layer="X"),
            Curve("NC2_ETF", "NC2 (ETF)", layer="X"),
            Curve("test_accuracy", "accuracy on samples held out", layer="all"),
        ),
        caption=(
            "Layers of kernel regression, projection by the square root of the average gradient "
            "outer product (AGOP) and untrained random features, a frame for each layer: cosines "
            "between the first five training samples of each class, sorted by class, as the "
            "layer's inputs, less the mean of all samples. Layers have features of their own: "
            "what moves is their Gram matrix, which asks for no projection. Dashed are the pairs "
            "of one class, whose cosine is 1 once classes have collapsed to a simplex, while that "
            "of all others is -1/(K-1). Beside it, of all training samples as the layer's inputs, "
            "the NC1 ratio, tr Sigma_W / tr Sigma_B of their covariances within and between "
            "classes, and NC2, the distance of the Gram matrix of the centred class means from "
            "that of a simplex ETF, both of norm 1; and the accuracy of the layer's kernel "
            "regression on samples held out."
        ),
    ),
    deviations=(
        "Deep recursive feature machines are fitted to Fashion-MNIST and digits in place of "
        "CIFAR-10, SVHN and MNIST, at scale `reference` to 20,000 images; networks train on "
        "Fashion-MNIST.",
        "NC1 is tr Sigma_W / tr Sigma_B: the released code divides it by the number of classes. "
        "NC2 here is the distance of two Gram matrices of norm 1, there a mean squared difference.",
        "Images held out, at most as many as there are to fit to, are standardised by mean and "
        "deviation of the training images; in the code by their own.",
        "Random Fourier features are of an isotropic Laplace kernel and of the given width; in the "
        "code they are of a kernel with the l1 distance, and as many as the layer has inputs.",
        "Adam keeps its moments over all epochs; the code makes a new optimiser for each.",
        "The ablation with a shuffled basis and the scale of a large start are this project's.",
    ),
)
