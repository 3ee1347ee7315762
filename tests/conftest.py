import fcntl
import math
import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings
from torch.nn import functional

from collapse import config
from collapse.artifacts import stored_provenance, write_tensors
from collapse.models.network import build
from collapse.problems.deep_linear import DeepLinear, class_targets
from collapse.provenance import code_digest
from collapse.specs import Spec
from collapse.training.checkpoints import Checkpoints
from collapse.training.ensemble import Ensemble
from collapse.training.objective import Objective
from collapse.training.order import generator
from collapse.training.samples import Samples
from collapse.training.supervised import SupervisedLearner
from collapse.training.trainer import Trainer, train

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "notebooks", "profiles", "tests/toys")
WITHOUT_SLURM = "need a SLURM cluster and were skipped: `make test-full` runs them"
WITHOUT_CHROMIUM = "need a Chromium and were skipped: `make test-full` installs one"
WITHOUT_FAULTS = "inject further faults and were skipped: `make test-full` runs them"


@pytest.fixture(scope="session", autouse=True)
def _jobs_on_a_cpu():
    """Run the jobs that tests run in their own process on a CPU.

    A job holds its GPU while its process lives: the next one of the same process would wait for it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse.procedures.acquire_device", lambda: torch.device("cpu"))
        yield


def pytest_addoption(parser):
    parser.addoption(
        "--slurm", action="store_true", help="run the tests that start a SLURM cluster"
    )
    parser.addoption("--faults", action="store_true", help="inject all faults, not a sample")


def pytest_configure(config):
    """One thread for each process of tests: two with two threads each wait for one another."""
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(config, items):
    """Begin with the files that need the finished workflow, which takes longest.

    Nobody's machine gets a SLURM cluster unless asked for.
    """
    first = {item.path for item in items if "finished" in item.fixturenames}
    items.sort(key=lambda item: item.path not in first)
    for item in items:
        for name, reason in (("slurm", WITHOUT_SLURM), ("faults", WITHOUT_FAULTS)):
            if item.get_closest_marker(name) and not config.getoption(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    """Say which tests did not run, and what runs them; and how the injected faults ended."""
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    for why in (WITHOUT_SLURM, WITHOUT_CHROMIUM, WITHOUT_FAULTS):
        count = sum(why in reason for reason in skipped)
        if count:
            terminalreporter.write_line(f"{count} tests {why}")
    passed = terminalreporter.stats.get("passed", ())
    ends = [dict(report.user_properties).get("fault") for report in passed]
    kinds = [report.nodeid.split("::test_")[1].split("[")[0] for report in passed]
    faults = Counter((kind, end) for kind, end in zip(kinds, ends, strict=True) if end)
    for (kind, end), count in sorted(faults.items()):
        terminalreporter.write_line(f"{count:4} faults: {kind.replace('_', ' ')}: {end}")
    if faults:
        terminalreporter.write_line(f"{sum(faults.values()):4} faults injected")


class Checkout:
    """A copy of the workflow that a test may run and edit; its own package is what runs."""

    def __init__(self, folder, copy=True):
        self.folder = folder
        for part in PARTS if copy else ():
            source = ROOT / part
            duplicate = shutil.copytree if source.is_dir() else shutil.copy
            duplicate(source, folder / part)

    def run(self, *command, **environment):
        """Run a command of the environment in the checkout; return the completed process."""
        return subprocess.run(**self._call(command, environment), capture_output=True)

    def start(self, *command, output, **environment):
        """Start a command of the environment in the checkout; return the process."""
        return subprocess.Popen(**self._call(command, environment), stdout=output, stderr=output)

    def _call(self, command, environment):
        own = {"PYTHONPATH": str(self.folder / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
        return {
            "args": [str(Path(sys.executable).parent / command[0]), *command[1:]],
            "cwd": self.folder,
            "env": os.environ | own | environment,
            "text": True,
        }

    def snakemake(self, *arguments, scale="smoke", **environment):
        """Run snakemake on both cores at a scale; ``key=value`` are settings of the config."""
        settings = [each for each in arguments if re.fullmatch(r"\w+=.+", each)]
        rest = [each for each in arguments if each not in settings]
        chosen = ["--config", f"scale={scale}", *settings, "--cores", "2"]
        return self.run("snakemake", *chosen, *rest, **environment)

    def planned(self, *arguments):
        """Return the rules that a run would execute, with their number of jobs."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        counted = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        return {rule: int(count) for rule, count in counted if rule not in ("all", "total")}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which the whole smoke workflow has run once; tests leave it as it is.

    It runs once for all processes of tests; each has a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made = Checkout(shared / "made", copy=False)
    with (shared / "made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.folder.exists():
            running = Checkout(tmp_path_factory.mktemp("running {here} ü"))
            done = running.snakemake()
            assert done.returncode == 0, done.stdout + done.stderr
            running.folder.rename(made.folder)
    folder = tmp_path_factory.mktemp("finished") / "checkout"
    shutil.copytree(made.folder, folder, symlinks=True)
    return Checkout(folder, copy=False)


@pytest.fixture
def checkout(tmp_path):
    """A fresh checkout."""
    return Checkout(tmp_path)


def write_spec(folder, stage, told, **reads):
    """Write the spec of a job that no config plans; return the options that say where it is.

    Keywords are the paths of what it reads, by role.
    """
    modules = (f"collapse.stages.{stage}",)
    inputs = {
        role: {
            os.path.relpath(path, folder): {
                key: value
                for key, value in stored_provenance(path).items()
                if key in ("code", "config")
            }
            for path in of
        }
        for role, of in reads.items()
    }
    spec = Spec(stage, modules, told, code_digest(*modules), inputs, str(folder))
    spec.write(folder / f"{stage}.json")
    return ["--spec", str(folder / f"{stage}.json")]


def run_stage(stage, out, source=None, **job):
    """Run a stage that makes one file, such as data, as a spec says."""
    stage.run(Namespace(spec=Spec("any", (), job, code=""), source=source, out=str(out)))


CPU = torch.device("cpu")
FEW = settings(derandomize=True, max_examples=25, deadline=None, database=None)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


# Features, and the collapse metrics by their definitions


CLASS_KEYS = ("NC1", "NC1_ratio", "CDNV", "NC2_ETF", "NC2_OF", "equinorm", "equiangularity")
STUDY_KEYS = (*CLASS_KEYS, "NC3", "NC3_product", "NC4")
"""What `study_metrics` takes of labelled features, without and with a classifier."""


def unit(matrix):
    return matrix / np.linalg.norm(matrix)


def class_reference(features, labels, weight=None, bias=None):
    """The definitions, word by word: loops, d x d covariances and pseudo-inverses."""
    h = np.asarray(features, dtype=np.float64)
    y = np.asarray(labels)
    classes = len(weight) if weight is not None else y.max() + 1
    means = np.stack([h[y == k].mean(0) for k in range(classes)])
    w = None if weight is None else np.asarray(weight, dtype=np.float64)
    residuals = h - means[y]
    within = residuals.T @ residuals / len(h)
    of = {"means": means, "within": within, "w": w}
    centred = means - h.mean(0)
    result = _about(centred, **of)
    variances = [np.mean(np.sum((h[y == k] - means[k]) ** 2, 1)) for k in range(classes)]
    pairs = [(k, j) for k in range(classes) for j in range(k + 1, classes)]
    gaps = [np.linalg.norm(means[k] - means[j]) for k, j in pairs]
    spreads = [(variances[k] + variances[j]) / 2 for k, j in pairs]
    result["CDNV"] = np.mean([s / g**2 for s, g in zip(spreads, gaps, strict=True)])
    result["CDNV_2"] = np.mean([s / g**4 for s, g in zip(spreads, gaps, strict=True)])
    result["NC2_OF"] = np.linalg.norm(unit(means @ means.T) - np.eye(classes) / math.sqrt(classes))
    result["NC2_GOF_own"] = _own_distance(means, means)
    # An eigenvalue of S_B below 1e-9 of the largest counts as zero.
    rank = np.linalg.matrix_rank(centred, tol=math.sqrt(1e-9) * np.linalg.norm(centred, 2))
    result["VCI"] = _unexplained(h - h.mean(0), np.eye(classes)[y], rank)
    singular = np.linalg.svd(h - h.mean(0), compute_uv=False)
    shares = singular[singular > 0] / singular.sum()
    result["effective_rank"] = np.exp(-np.sum(shares * np.log(shares)))
    if w is not None:
        logits = h @ w.T + (0 if bias is None else np.asarray(bias, dtype=np.float64))
        nearest = [np.argmin(np.sum((x - means) ** 2, 1)) for x in h]
        mismatch = np.argmax(logits, 1) != nearest
        of_means = np.linalg.norm(unit(w @ means.T) - np.eye(classes) / math.sqrt(classes))
        result["NC3_product"] = of_means if bias is None else result["NC3_ETF"]
        result["NC4"] = np.mean(mismatch)
        result["NC4_by_class"] = [np.mean(mismatch[y == k]) for k in range(classes)]
        result["NC2_W_GOF_own"] = _own_distance(w, w)
        result["NC3_GOF_own"] = _own_distance(w, means)
    unweighted = _about(means - means.mean(0), **of)
    return result | {f"{key}_unweighted": value for key, value in unweighted.items()}


def _about(centred, means, within, w):
    """Metrics of class means less a centre."""
    classes, dim = centred.shape
    between = sum(np.outer(c, c) for c in centred) / classes
    inverse = np.linalg.pinv(between, rcond=1e-9, hermitian=True)
    lengths = np.linalg.norm(centred, axis=1)
    pairs = [(k, j) for k in range(classes) for j in range(k + 1, classes)]
    etf = (np.eye(classes) - 1 / classes) / math.sqrt(classes - 1)
    result = {
        "NC1": np.trace(within @ inverse) / classes,
        "NC1_ratio": np.trace(within) / np.trace(between),
        "NC2_ETF": np.linalg.norm(unit(centred @ centred.T) - etf),
        "equinorm": np.std(lengths) / np.mean(lengths),
        "equiangularity": np.std(
            [centred[k] @ centred[j] / lengths[k] / lengths[j] for k, j in pairs]
        ),
    }
    u = centred / lengths[:, None]
    apart = np.array([np.linalg.norm(u[k] - u[j]) for k, j in pairs])
    sign = -1.0 if dim < 2 else 1.0
    kernels = {"distance": apart, "log": np.log(1 / apart), "riesz": sign * apart ** (2.0 - dim)}
    for name, values in kernels.items():
        result[f"GNC2_{name}_mean"] = np.mean(values)
        result[f"GNC2_{name}_variance"] = np.mean((values - np.mean(values)) ** 2)
    if w is not None:
        result["NC3"] = np.linalg.norm(unit(w) - unit(centred)) ** 2
        result["NC3_ETF"] = np.linalg.norm(unit(w @ centred.T) - etf)
    return result


def _unexplained(h, indicators, rank):
    """Share of the classes that no linear map of the features explains, by orthonormal bases."""
    u, singular, _ = np.linalg.svd(h, full_matrices=False)
    u = u[:, singular > 1e-12 * singular[0]]
    y, singular, _ = np.linalg.svd(indicators - indicators.mean(0), full_matrices=False)
    y = y[:, singular > 1e-12 * singular[0]]
    # Classes beyond the rank of their means are explained by nothing.
    return (np.linalg.norm(y - u @ (u.T @ y)) ** 2 - (y.shape[1] - rank)) / rank


def _own_distance(first, second):
    """Distance of a product to the diagonal matrix of the products of lengths."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.linalg.norm(unit(first @ second.T) - unit(np.diag(lengths)))


def assert_metrics(found, expected, rel=1e-9, abs_=1e-12):
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=rel, abs=abs_), key


def collapsed(counts, dim, noise, seed=0, dtype=torch.float32, offset=0.0):
    """Random class means of length about sqrt(dim), and noise around them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    means = torch.randn(len(counts), dim, generator=generator, dtype=torch.float64)
    deviations = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    return (means[labels] + noise * deviations + offset).to(dtype), labels


def random_head(classes, dim, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(classes, dim, generator=generator).to(dtype),
        torch.randn(classes, generator=generator).to(dtype),
    )


def rotation(dim):
    generator = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]


@pytest.fixture
def tf32():
    """Allow TF32 products, as a user may have done before."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    yield
    matmul.fp32_precision = before


# Problems, and variables of several of them


def f64(values):
    return torch.as_tensor(values, dtype=torch.float64)


def equal_decays(batch, depth, decay):
    return {
        "weight_decay": torch.full((batch, depth), decay, dtype=torch.float64),
        "feature_decay": torch.full((batch,), decay, dtype=torch.float64),
    }


def small_problem(
    batch=3, depth=2, width=5, sizes=(7, 4, 4), decay=5e-3, kind=DeepLinear, **options
):
    decays = equal_decays(batch, depth, decay)
    return kind(class_targets(sizes), (width,) * depth, **decays, **options)


def one(parameters, index):
    return parameters.map(lambda tensor: tensor[index : index + 1])


def assert_same_variables(found, expected, tolerance):
    for left, right in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


class Unreduced(DeepLinear):
    def reduced(self, start):
        return self, start, None


# Regressions


# Eigenvalues 0.2 and 1.2, axes that are no coordinate axes.
SIGMA = np.array([[0.84, 0.48], [0.48, 0.56]])


def regression_problem(covariance, samples=20, dim=6, mean=None, bias=True):
    return {
        "kind": "regression",
        "target_covariance": np.asarray(covariance).tolist(),
        "target_mean": mean,
        "samples": samples,
        "dim": dim,
        "bias": bias,
        "init_scale": 0.3,
    }


def regression_objective(w, h, bias, y, weight_decay, feature_decay):
    """1/(2M) ||W H + b 1' - Y||^2 + feature_decay/(2M) ||H||^2 + weight_decay/2 ||W||^2."""
    samples = y.shape[1]
    error = w @ h + (0 if bias is None else bias[:, None]) - y
    return (
        np.sum(error**2) / (2 * samples)
        + feature_decay / (2 * samples) * np.sum(h**2)
        + weight_decay / 2 * np.sum(w**2)
    )


def entries(name, matrix):
    """The entries of a symmetric matrix as readings spell them."""
    return {
        f"{name}[{i},{j}]": matrix[i, j] for i in range(len(matrix)) for j in range(i, len(matrix))
    }


def regression_arrays(samples=12, test=5, inputs=3, outputs=2, seed=0):
    """A regression as `collapse data` writes it; its second input is constant in training."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for part, size in (("train", samples), ("test", test)):
        values = generator.standard_normal((size, inputs)) * [3, 1, 0.5] + [1, 0, -2]
        if part == "train":
            values[:, 1] = 7.0
        arrays[f"{part}_inputs"] = values
        arrays[f"{part}_targets"] = generator.standard_normal((size, outputs)) * 2 + 5
    return arrays


def write_regression(path, arrays, names=None, **provenance):
    names = names or [f"y{i}" for i in range(arrays["train_targets"].shape[1])]
    write_tensors(path, arrays, provenance, {"name": "toy", "inputs": ["a"], "targets": names})
    return path


# Networks on toy images


K = 4
MLP = {
    "kind": "mlp",
    "hidden": [16, 12],
    "normalisation": "batch",
    "ending": "signed",
    "init": "uniform",
}
PLAIN = MLP | {"normalisation": "none"}
MSE, CE, ADAM, SGD = ({"kind": kind} for kind in ("mse", "ce", "adam", "sgd"))
SETTINGS = {
    "optimiser": ADAM,
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "schedule": None,
    "epochs": 6,
    "batch_size": 16,
    "record": 4,
    "precision": "tf32",
    "augmentation": [],
}
DECAYS = {
    "weight_decay": 5e-4,
    "feature_decay": 1e-5,
    "backbone_decay": 0.0,
    "decayed": "all",
}


def pixels(samples, seed=0):
    return np.random.default_rng(seed).integers(0, 17, (samples, 1, 8, 8), dtype=np.uint8)


def digits(samples=50, device=CPU):
    labels = torch.arange(samples, device=device) % K
    return Samples(pixels(samples), (0.5,), (0.3,), 16, device), labels


def network(model=MLP, depth=2, bias=True, seed=0, init="orthogonal", frozen=False):
    head = {"depth": depth, "bias": bias, "init": init, "frozen": frozen}
    return build({"model": model, "head": head}, (1, 8, 8), K, seed)


def learner(networks, seeds, samples=50, decays=DECAYS, loss=MSE, input=None, **changes):
    """Networks of one shape that learn the toy images, on the networks' device."""
    images, labels = digits(samples, next(networks[0].parameters()).device)
    objective, settings = Objective(loss, **decays, samples=samples), SETTINGS | changes
    batches = {} if input is None else {"input": input}
    return SupervisedLearner(
        Ensemble(networks), images, labels, objective, settings, seeds, **batches
    )


def prepared(*networks_and_seeds, **changes):
    """A training of networks of one shape."""
    return Trainer([learner(*networks_and_seeds, **changes)])


def fit(samples=50, model=MLP, checkpoints=None, net=None, keep_end=False, **changes):
    net = network(model) if net is None else net
    return train(prepared([net], [0], samples, **changes), checkpoints, keep_end)[0]


def assert_resumes(make, folder, monkeypatch, killed_in=3):
    """A training that is killed at the begin of an epoch goes on to the same bytes."""
    expected = train(make())
    epoch = Trainer.epoch

    def killed(self, number):
        if number == killed_in:
            raise KeyboardInterrupt
        return epoch(self, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "epoch", killed)
        with Checkpoints(folder, {"code": "same"}) as checkpoints:
            train(make(), checkpoints)
    with Checkpoints(folder, {"code": "same"}) as checkpoints:
        found = train(make(), checkpoints)
    for result, other in zip(found, expected, strict=True):
        assert set(result.states) == set(other.states)
        for step, state in other.states.items():
            assert all((result.states[step][name] == value).all() for name, value in state.items())
        assert result.history.equals(other.history)


def assert_same_states(first, second):
    assert first.keys() == second.keys()
    for epoch, state in first.items():
        for name, array in state.items():
            assert array.tobytes() == second[epoch][name].tobytes(), f"{epoch}: {name}"


# A new kind of each part of a training


class Negatives:
    """Negated images, their labels smoothed by a random share of each sample."""

    soft = True

    def __init__(self, order, targets, outputs, settings):
        self.order, self.targets, self.outputs = order, targets, outputs
        self.least = settings["least"]
        self.shares = torch.empty(order.indices.shape, device=targets.device)

    def draw(self, epoch):
        self.order.draw(epoch)
        for row, seed in enumerate(self.order.seeds):
            self.shares[row] = shares(seed, epoch, self.least, self.shares.device)

    def take(self, places):
        images, samples = self.order.take(places)
        share = self.shares.index_select(1, places)
        return -images, smoothed(self.targets[samples], share, self.outputs)


def shares(seed, epoch, least, device=CPU, samples=50):
    source = generator(seed, epoch, device, 1)
    return least + (1 - least) * torch.rand(samples, generator=source, device=device)


def smoothed(labels, share, outputs=K):
    share = share.unsqueeze(-1)
    return share * functional.one_hot(labels, outputs) + (1 - share) / outputs


class SignDescent:
    """Steps of one length, along the sign of an average of the gradients."""

    def __init__(self, parameters, settings):
        self.parameters, self.momentum = list(parameters.values()), settings["momentum"]
        self.state = {name: torch.zeros_like(each) for name, each in parameters.items()}

    @torch.no_grad()
    def step(self, learning_rate):
        for parameter, average in zip(self.parameters, self.state.values(), strict=True):
            average.lerp_(parameter.grad, 1 - self.momentum)
            parameter.sub_(learning_rate * average.sign())


def quartic(outputs, targets, settings):
    distance = outputs - functional.one_hot(targets, outputs.shape[-1])
    return settings["scale"] * distance.pow(4).sum((1, 2)) / targets.shape[1]


def largest(outputs, targets):
    return outputs.abs().amax((1, 2))


NEW = {
    "losses": {"data_term": quartic, "error": largest},
    "inputs": {"build": Negatives},
    "update_rules": {"make": SignDescent},
}


@pytest.fixture
def new(monkeypatch):
    """Modules of a new kind ``x``, one of each part."""
    for part, functions in NEW.items():
        name = f"collapse.training.{part}.x"
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**functions))


# Configs


KEPT = {
    "regression": ("reacher", "reacher_features", "free_features", "no_decay"),
    "deep_linear": ("network_mlp", "direct_optimisation", "collapse_threshold"),
}


@pytest.fixture(scope="session")
def load(tmp_path_factory):
    """Load this project's config, for speed without most of its experiments."""
    folder = tmp_path_factory.mktemp("config")
    shutil.copy("config/config.yaml", folder)
    for name in (f"{part}/{study}" for part in ("scales/smoke", "studies") for study in KEPT):
        whole = config.read_yaml(Path(f"config/{name}.yaml"))
        kept = {
            study: {key: block for key, block in whole[study].items() if key in KEPT[study]}
            for study in whole.keys() & KEPT.keys()
        }
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(kept))

    def read(user=None):
        return config.load(folder, {"scale": "smoke"} | (user or {}), "my.yaml")

    return read


DESCENT = {"kind": "sgd", "learning_rate": 0.1, "steps": 5}
PROBLEM = {
    "problem": {"kind": "deep_linear", "class_sizes": [4, 4], "widths": 3},
    "optimiser": DESCENT,
    "weight_decay": 1e-3,
    "feature_decay": 1e-3,
    "seeds": 2,
}


def reading(**of):
    """A problem that starts where a run of the experiment `first` ended."""
    start = {"kind": "states", "of": {"study": "deep_linear", "experiment": "first", **of}}
    return {**PROBLEM, "start": start}


def study_regression(**experiments):
    return {"regression": experiments}


def study_deep_linear(**experiments):
    return {"deep_linear": experiments}
