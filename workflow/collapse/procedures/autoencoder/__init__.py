"""Variational autoencoders of images with ReLU networks (Dang et al. 2024).

Networks of one shape train side by side: a parameter is R x ..., R the runs of a job. Runs of one
seed begin alike and see the same images and the same noise. A state holds the parameters of a run
by name, ``{network}.{layer}.weight`` (inputs x outputs) and ``.bias``; the history holds a row for
each epoch. What the two models are is said by the modules `cvae` and `mhvae`.
"""

from collapse.procedures.autoencoder import cvae, mhvae

MODELS = {"cvae": cvae, "mhvae": mhvae}
"""What an experiment's ``autoencoder`` names."""
