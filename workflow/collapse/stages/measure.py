"""Print every applicable metric of dumped features as JSON.

FILE is a safetensors file, or a folder of such files (shards), read in blocks of rows; nothing is
written. Its tensors:

  features  N x d        float16, bfloat16, float32 or float64
  labels    N            integers 0 to K-1, at least two samples of every class;
                         K is the rows of weight, else the largest label + 1
  targets   N x n        floats that vary, for regression; either labels or targets
  weight    K x d (n x d)  of the linear classifier (head), optional
  bias      K (n)        beside a weight, optional

Of a folder each file has features with labels or targets, one at least weight and bias, if there
are any. Other tensors are ignored. mu_k are the class means, mu_G is the mean over all samples; S_W
averages over samples, S_B over classes. Keys with labels:

  NC1             (1/K) tr(S_W S_B^+)
  NC1_ratio       tr S_W / tr S_B
  CDNV            mean over pairs of (v_k + v_l) / (2 norm(mu_k - mu_l)^2)
  NC2_ETF         distance of the Gram matrix of mu_k - mu_G to a simplex ETF's
  NC2_OF          distance of the Gram matrix of mu_k to an orthogonal frame's
  equinorm        standard deviation / mean of norm(mu_k - mu_G)
  equiangularity  standard deviation over pairs of cos(mu_k - mu_G, mu_l - mu_G)
  CDNV_2          CDNV with norm(mu_k - mu_l)^4
  NC2_GOF_own     distance of the Gram matrix of mu_k to an orthogonal frame's of the same lengths
  GNC2_distance_mean, GNC2_distance_variance
                  over pairs of norm(u_k - u_l), u_k = (mu_k - mu_G)/norm(mu_k - mu_G)
  GNC2_log_mean, GNC2_log_variance      of -log norm(u_k - u_l)
  GNC2_riesz_mean, GNC2_riesz_variance  of norm(u_k - u_l)^-(d - 2)
  VCI             1 - tr(S_T^+ S_B) / rank(S_B), classes weighted by their samples (d up to 2048)
  effective_rank  exp of the entropy of the shares of the singular values of h - mu_G (d up to 2048)
with labels and a weight:
  NC3             squared distance of weight and mu_k - mu_G, each of unit norm
  NC3_product     distance of W (mu_k - mu_G) to a simplex ETF with a bias, of W mu_k to an
                  orthogonal frame without
  NC4             fraction of samples whose nearest class mean is not argmax(W h + b)
  NC4_by_class    the same of each class's samples
  NC3_ETF         distance of W (mu_k - mu_G) to a simplex ETF
  NC2_W_GOF_own   distance of W W^T to an orthogonal frame's of the same lengths
  NC3_GOF_own     distance of W mu_k to an orthogonal frame's of the lengths of w_k and mu_k
KEY_unweighted, of each key about mu_G but VCI, effective_rank and NC3_product (see NC3_ETF): the
same about the unweighted mean of the mu_k, as the library neural_collapse has it; equal where
classes are balanced (NC1_unweighted for d up to 2048). With targets:
  NRC1, NRC1_centred        mean squared residual of unit-norm features outside their top n
                            principal components
  explained_variance_ratio  of the first 5 principal components
  effective_rank            as above, of any d
with targets and a weight:
  NRC2, NRC2_centred        the same residual outside the row space of the weight
  r2, mse                   fit of W h + b, pooled over outputs
  NRC3, gamma               (n > 1) squared distance of W W^T to Sigma^(1/2) - gamma^(1/2) I,
                            and the gamma that minimises it

A metric that is undefined is null.
"""

import argparse
import json
import os
from pathlib import Path

from collapse.errors import InputError
from collapse.metrics import Batches, measure, shards
from collapse.metrics.measure import Value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's argument."""
    parser.add_argument("file", metavar="FILE", help="safetensors file, or folder, to measure")


def run(args: argparse.Namespace) -> None:
    """Print the metrics as JSON."""
    print(json.dumps(measure_file(args.file), indent=2, allow_nan=False))


def measure_file(path: str | Path) -> dict[str, Value]:
    """Return what `collapse.metrics.measure` does of the tensors of a file, or a folder of files.

    Features are read in blocks of rows, the other tensors whole.

    Raises
    ------
    InputError
        A file is missing, not safetensors or truncated, holds no `features`, or its tensors are
        refused; the message begins with the file's name.
    """
    tensors = {"features": Batches(path)} if os.path.isdir(path) else shards.read(path)
    try:
        return measure(**tensors)
    except InputError as error:
        # Of a folder the line may name the file in it.
        named = str(error).startswith(str(path))
        raise error if named else InputError(f"{path}: {error}") from None
