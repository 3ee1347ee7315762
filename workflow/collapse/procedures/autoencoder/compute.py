"""Train the autoencoders of a group side by side."""

from collapse.procedures import Computed, JobContext, Runs
from collapse.procedures.autoencoder import MODELS
from collapse.procedures.autoencoder.gaussian import build
from collapse.procedures.autoencoder.images import Images, images_of
from collapse.procedures.autoencoder.learner import AutoencoderLearner
from collapse.procedures.network.compute import checkpoints_of, computed
from collapse.training.ensemble import Ensemble
from collapse.training.trainer import Trainer, train
from collapse.upstream import Upstream


def compute(runs: Runs, upstream: Upstream, job: JobContext) -> Computed:
    """Train the networks of a group; a killed training continues from its checkpoints."""
    # The device before the data: who waits for one holds none.
    device, config = job.device, runs[0]["config"]
    trainer = Trainer([_learner(runs, images_of(upstream.data_set(), config, device))])
    return computed(runs, train(trainer, checkpoints_of(trainer, job)))


def _learner(runs: Runs, images: Images) -> AutoencoderLearner:
    """Return what trains new networks of one shape, one for each run."""
    configs, seeds = ([run[name] for run in runs] for name in ("config", "seed"))
    widths = MODELS[configs[0]["autoencoder"]].widths(configs[0], images.shape)
    # Initialised on the CPU: the start is the same on every device.
    networks = [build(widths, seed).to(images.train.device) for seed in seeds]
    return AutoencoderLearner(Ensemble(networks), images, configs, seeds)
