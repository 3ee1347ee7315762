"""Posterior collapse in conditional and hierarchical autoencoders (Dang et al. 2024)."""

from collapse.studies import Curve, Moving, Plot, Study

_LINEAR = (
    "Linear models minimise the objective of a population of given second moments, by Adam, "
    "L-BFGS and Newton's method one after the other"
)
_THETA = (
    "theta_i are the eigenvalues of the second moment of y given x (of x, without anything given), "
    "in descending order"
)
_UNITS = (
    "A latent is an active unit if the variance of its posterior mean is above a hundredth of the "
    "prior's"
)
_TYPES = (
    "A variable is passive where nearly all images (19 of 20) leave its posterior variance above "
    "0.9 of the prior's, active where next to none (1 of 20) does, else mixed"
)
_BANDS = "Points are medians over seeds, bars or bands their range"

STUDY = Study(
    paper=(
        "Dang, Nguyen, Tran, Tran, Ho: Beyond vanilla variational autoencoders: detecting "
        "posterior collapse in conditional and hierarchical variational autoencoders. ICLR 2024, "
        "arXiv 2306.05023"
    ),
    objective=(
        "1/decoder_std^2 E||y - U1 z - U2 x||^2 + 2 beta KL(N(W1 x + W2 y, S) || N(0, "
        "prior_std^2)), S diagonal: twice the negative evidence lower bound without a constant; "
        "two levels: 1/decoder_std^2 E||x - U1 z1||^2 + 2 beta_1 KL(q(z1|x) || N(U2 z2, "
        "decoder_std^2)) + 2 beta_2 KL(q(z2|z1) || N(0, prior_std^2)). Networks: the same with "
        "ReLU networks in place of linear maps"
    ),
    figures={
        "singular_values": Plot(
            reads=("linear_cvae",),
            caption=(
                f"{_LINEAR}. Above, the singular values of the decoder of a linear conditional "
                "autoencoder, below the std of its encoder, latent by latent (light to dark) "
                f"against beta, for stds e of the decoder. {_THETA}; closed forms (dashed) are "
                "sqrt(max(0, theta_i - beta e^2)) and e sqrt(beta/theta_i), 1 where theta_i <= "
                f"beta e^2. {_BANDS}."
            ),
        ),
        "active_units": Plot(
            reads=("staircase", "cvae_beta", "cvae_decoder_std"),
            caption=(
                f"How many latents are active. Left, of a linear conditional autoencoder against "
                f"beta at a decoder std e of 1: {_THETA}, and a latent is active where theta_i > "
                "beta e^2 (dashed). The rule of the released code, theta_i >= sqrt(beta) e, is "
                "dotted. Middle and right, of ReLU networks that complete images from a quarter, "
                f"against beta and against e. {_UNITS}. Dashed there is what the rule for linear "
                "models says of the same images, given the quarter by linear regression; no closed "
                f"form of the networks is known. {_BANDS}."
            ),
        ),
        "correlation": Plot(
            reads=("correlation",),
            caption=(
                "A linear conditional autoencoder of y, given x = r y + sqrt(1 - r^2) n with n of "
                "y's second moment, against the correlation r. Left, the KL divergence of the "
                "posterior from the prior, of all latents, in nats; right that of each latent "
                "(light to dark). Closed forms (dashed) are log(theta_i/beta)/2 where theta_i = (1 "
                "- r^2) times an eigenvalue of y is above beta, else 0 (decoder and prior std 1): "
                f"the more x says of y, the less is left to latents. {_BANDS}."
            ),
        ),
        "hierarchy": Plot(
            reads=("linear_mhvae", "mhvae"),
            caption=(
                "Autoencoders with two levels of latents, z1 with a std that is held and z2 with a "
                "learned one, against the weights beta_1 and beta_2 of their KL divergences: above "
                "linear, with the closed form in brackets, below with ReLU networks on images. "
                "Columns are active units of z1 (whose signal has a variance above a hundredth of "
                "its noise's) and of z2 (a hundredth of the prior's), and the KL divergence of z2 "
                "from its prior in nats. Medians over seeds."
            ),
        ),
        "reconstructions": Plot(
            reads=("cvae_beta", "mhvae"),
            caption=(
                "Images held out and what ReLU networks make of them, of one seed. Left, a "
                "conditional autoencoder that is given the bottom left quarter (framed), as beta "
                "grows: with the posterior mean, which has seen the whole image, and with the mean "
                "of the prior, which has seen the quarter alone. Right, an autoencoder with two "
                "levels, as beta_2 grows at the smallest beta_1: through z1, and through z2, which "
                "z1 is reconstructed from. What has collapsed gives the same image to all."
            ),
        ),
        "representations": Plot(
            reads=("cvae_beta",),
            caption=(
                "Variables of conditional autoencoders with ReLU networks as beta grows. Left, how "
                f"many are active, mixed and passive. {_TYPES}. Middle, each variable's posterior "
                "variance and the variance of its posterior mean, both over the prior's. Right, "
                "its largest absolute correlation with another variable, of active ones with "
                "another active one, as a mean over variables: of posterior means (filled) and of "
                "samples of the posterior (open). Definitions are those of Bonheme & Grzes 2021, "
                "thresholds this project's."
            ),
        ),
    },
    axes=(),
    own_axes={
        "linear_cvae": ("problem.beta", "problem.decoder_std"),
        "linear_vae": ("problem.beta", "problem.prior_std"),
        "held_encoder": ("problem.beta",),
        "staircase": ("problem.beta",),
        "correlation": ("problem.correlation",),
        "linear_mhvae": ("problem.beta_1", "problem.beta_2"),
        "cvae_beta": ("beta",),
        "cvae_decoder_std": ("decoder_std",),
        "mhvae": ("beta_1", "beta_2"),
    },
    claims_read=(
        "linear_cvae",
        "linear_vae",
        "held_encoder",
        "staircase",
        "correlation",
        "linear_mhvae",
        "cvae_beta",
        "cvae_decoder_std",
        "mhvae",
    ),
    optional=frozenset({"linear_vae", "held_encoder"}),
    moving=Moving(
        experiment="staircase",
        run={"beta": 3.1},
        curves=(
            Curve("active", "active latents", layer="all", predicted="active"),
            Curve("KL", "KL divergence in nats", layer="all", predicted="KL"),
            Curve("loss", "loss", layer="all", predicted="loss"),
        ),
        caption=(
            "A linear conditional autoencoder follows gradients of the objective of a population, "
            "by Adam, at last by L-BFGS and Newton's method: of each latent, in a colour of its "
            "own, the norm of its column of the decoder U1, which says how much it adds to the "
            "reconstruction, and the std of its posterior. Nothing is projected. A latent at norm "
            "0 and std 1 has collapsed: its posterior is the prior, whatever the data are. Dashed "
            "are the curve of the std that is best for each norm, (1 + norm^2/(beta "
            "e^2))^(-1/2) with e the decoder's std and the prior's at 1, and below it upright "
            "lines at the norms of the closed form, sqrt(max(0, theta_i - beta e^2)), which are "
            f"the singular values of U1; that at 0 is the axis. {_THETA}. Beside it how many "
            "latents are active (the posterior mean has a variance above a hundredth of the "
            "prior's), the KL divergence of the posterior from the prior and the loss, with their "
            "closed forms (dashed)."
        ),
    ),
    deviations=(
        "Of the paper title and abstract were to be had, and its released code: widths and depths "
        "of the networks, and the populations of the linear models, are this project's choice.",
        "Networks train on Fashion-MNIST in place of MNIST (at scale `paper` on MNIST), pixels "
        "between 0 and 1.",
        "Linear models minimise the objective of a population, by Adam, L-BFGS and Newton's "
        "method; the code takes 200 steps of Adam on 100 samples.",
        "The closed form's threshold is theta > beta decoder_std^2; the released code has "
        "theta >= sqrt(beta) decoder_std, which is not followed.",
        "When a variable counts as passive, mixed or active is given by numbers of this project's.",
    ),
)
