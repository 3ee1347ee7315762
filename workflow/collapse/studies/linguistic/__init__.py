"""Neural collapse in causal language models (Wu & Papyan 2024)."""

from collapse.studies import Curve, Moving, Plot, Study
from collapse.studies.linguistic.published import CLASSES

_CLASSES = (
    "The class of a context is the token that follows it, its feature what the head gets; class "
    "means mu_k are over all training contexts, of tokens that follow one, and mu_G is their "
    "unweighted mean"
)
_METRICS = (
    "CDNV is the mean over pairs of classes of (v_k + v_l)/(2 ||mu_k - mu_l||^(2p)), v_k the "
    "variance about the class mean, p the exponent 1 or 2 (that of the paper's released numbers, "
    "which falls with the scale of features alone); equinorm the variance over classes of log "
    "||mu_k - mu_G||; GNC2 the variance over pairs of -log ||u_k - u_l||, u_k = (mu_k - mu_G) at "
    "norm 1; NC3 and UNC3 mean and variance over classes of the cosine of the head's row w_k and "
    "mu_k - mu_G; NC4 the fraction of held-out contexts where the head and the nearest class mean "
    "of training choose different tokens (the paper has 1 less that)"
)
_PUBLISHED = (
    "computed from the table of 230 models that the authors' code has, with the sign of NC4 turned"
)

STUDY = Study(
    paper=(
        "Wu, Papyan: Linguistic Collapse: Neural Collapse in (Large) Language Models. NeurIPS "
        "2024, arXiv 2405.17767"
    ),
    objective="mean cross-entropy of the next token, AdamW with decoupled decay",
    figures={
        "progress": Plot(
            reads=("grammar", "bible"),
            caption=(
                "Collapse of language models against their validation loss, a point a model: "
                "colours are widths, markers depths, paler ones epochs before the last. "
                f"{_CLASSES}. {_METRICS}. rho is Spearman's correlation after the last epoch, "
                f"beside it that of the paper's models of 10 epochs, {_PUBLISHED}."
            ),
        ),
        "scale": Plot(
            reads=("grammar", "bible"),
            caption=(
                "Validation loss and metrics after the last epoch against width, by depth. Dashed "
                "is the mean surprisal of the grammar's own law on the held-out text, its exact "
                "forward filter's, below which no model's loss can be in expectation. Symbols are "
                "those of the figure `progress`. Lines are medians over seeds and decays, bands "
                "their range."
            ),
        ),
        "seeds_at_fixed_scale": Plot(
            reads=("grammar_seeds",),
            caption=(
                "Models of one size that differ in their seed alone: metrics against validation "
                "loss after the last epoch, with the line of least squares, Pearson's correlation "
                "r and its p by permutations, two-sided; below those of the paper's 20 seeds, "
                f"{_PUBLISHED}. The variance of the product is that of w_k . (mu_k - mu_G) over "
                "classes; the other symbols are those of the figure `progress`."
            ),
        ),
        "floor": Plot(
            reads=("grammar", "bible"),
            caption=(
                "The ETF error of the class means, the distance of their Gram matrix G about the "
                "unweighted mean from that of a simplex ETF, both of norm 1. K class means in d < "
                "K - 1 dimensions are no ETF: the rank of G alone keeps the error above the dashed "
                "floor sqrt(2 - 2 sqrt(d/(K - 1))), which every centred tight frame reaches, "
                "whatever its lengths and angles, and which falls with the width by itself. Right "
                f"is the floor at the {CLASSES} classes of the paper, with the range of its "
                "models' errors (grey), of the authors' table. Points are medians over seeds and "
                "decays after the last epoch, bars their range."
            ),
        ),
    },
    axes=(),
    own_axes={
        "grammar": ("width", "depth", "training.optimiser.decay"),
        "grammar_seeds": ("width", "depth"),
        "bible": ("width", "depth", "training.optimiser.decay"),
    },
    claims_read=("grammar", "grammar_seeds", "bible"),
    moving=Moving(
        experiment="bible",
        run={"width": 32, "depth": 2},
        curves=(
            Curve("CDNV", "CDNV"),
            Curve("GNC2_log_variance_unweighted", "GNC2"),
            Curve("duality_cosine_mean_unweighted", "NC3"),
            Curve("NC4_held_out", "NC4"),
            Curve("validation_loss", "validation loss", layer="all"),
        ),
        caption=(
            "A language model from its start on: cosines of the head's row w_k (a row of the "
            "picture) and the class mean mu_l - mu_G (a column, in the same order) of the most "
            f"frequent words and marks. {_CLASSES}. Nothing is projected. Dashed are the cosines "
            "of one word's own, 1 where head and means are dual; the others are -1/(K-1) at a "
            "simplex, which K means in fewer than K - 1 dimensions do not form. Beside it, of all "
            "words, CDNV, the mean over pairs of classes of (v_k + v_l)/(2 ||mu_k - mu_l||^2), v_k "
            "the variance about the class mean; GNC2, the variance over pairs of -log ||u_k - "
            "u_l||, u_k = (mu_k - mu_G) at norm 1, 0 where means are equally far from each other; "
            "NC3, the mean cosine of w_k and mu_k - mu_G; NC4, the fraction of held-out contexts "
            "where the head and the nearest class mean of training choose different tokens; and "
            "the validation loss in nats."
        ),
    ),
    deviations=(
        "The models of the paper are GPT-Neo on TinyStories with a vocabulary of 50,257 word "
        "pieces, 29,233 of which occur; here they are transformers with full causal attention on "
        "the King James Bible by words, in small letters with marks as tokens, all but the most "
        "frequent as one, and on a hidden Markov grammar of known law.",
        "The head has a matrix of its own; that of GPT-Neo is the embedding's.",
        "The learning rate is constant and AdamW decays all parameters; the paper's training by "
        "the Hugging Face trainer lets the rate fall linearly and spares biases and LayerNorm. "
        "Therefore the models of 1 and 3 epochs are here those of 10 on their way.",
        "Of GPT-Neo's attention every second block is local; here all attend to the whole context.",
        "NC4 is a disagreement, 1 less the paper's agreement, of classes with training samples.",
        "The published correlations are computed from the released table, whose CDNV has exponent "
        "2; both exponents are measured.",
    ),
)
