"""A job's spec: what it is told and with which code, as a file that the driver writes at its start.

The file is JSON that a person can read. It holds the stage, the code digest that the job was
planned with and the modules it covers, what the job is told, and which files it reads, with the
digests of code and config that they were planned with. A job refuses to run where the code on disk,
the spec or an input is not the planned one.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from collapse.artifacts import (
    bytes_digest,
    canonical_json,
    parsed_json,
    replacing,
    stored_digest,
    stored_provenance,
)
from collapse.errors import InputError
from collapse.provenance import code_digest, package_digest

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "torch", "torchvision")


@dataclass(frozen=True)
class Spec:
    """What a job is told.

    Attributes
    ----------
    stage
        The subcommand that carries it out.
    modules
        Root modules of the code digest: the stage, and what it loads by name.
    job
        Exactly the part of the config that the job reads.
    code
        Digest of the code that the job is planned with.
    inputs
        What the job reads: by role, the digests of `code` and `config` by which each file was
        planned, files relative to the results.
    results
        The folder of the results, which may have any name.
    package
        Digest of all sources that there were before `code` was taken of some; may be empty.
    """

    stage: str
    modules: tuple[str, ...]
    job: Mapping[str, Any]
    code: str
    inputs: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    results: str = "results"
    package: str = ""

    @cached_property
    def config(self) -> str:
        """The digest of the part of the config that the job reads."""
        return json_digest(self.job)

    @cached_property
    def digest(self) -> str:
        """The digest of all that determines the job but what is in its inputs: that is seen."""
        # Snakemake itself looks whether the inputs changed; the results' folder changes nothing,
        # nor do sources that the job does not run.
        names = {role: list(files) for role, files in self.inputs.items()}
        return json_digest([self.stage, self.modules, self.job, self.code, names])

    @cached_property
    def reads(self) -> dict[str, list[str]]:
        """Paths of the files that the job reads, by role."""
        return {
            role: [f"{self.results}/{name}" for name in files]
            for role, files in self.inputs.items()
        }

    def provenance(self, device: str = "cpu", sources: Iterable[str] = ()) -> dict[str, Any]:
        """Return everything that determines the job's result.

        `device` is a class of devices, such as ``cpu`` or the name of a GPU. Files of the results
        are recorded by their path in them and their digest, `sources`, which may be of any kind and
        lie anywhere, by name and the digest of their bytes.
        """
        inputs = [
            [name, stored_digest(f"{self.results}/{name}")] for name in chain(*self.inputs.values())
        ]
        return {
            "stage": self.stage,
            "code": self.code,
            "config": self.config,
            "inputs": inputs,
            "sources": [[Path(path).name, bytes_digest(path)] for path in sources],
            "packages": {name: version(name) for name in _LIBRARIES},
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "device": device,
            "seed": self.job.get("seeds"),
        }

    def write(self, path: str | Path) -> None:
        """Write the file that `read` reads."""
        content = {
            "stage": self.stage,
            "code": self.code,
            "modules": list(self.modules),
            "job": self.job,
            "results": self.results,
            "package": self.package,
            "inputs": self.inputs,
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    def check(self, path: str | Path, expected: str | None) -> None:
        """Refuse to run where spec or code differ from what the job was planned with.

        `expected` is the digest that Snakemake planned the job with, None where it is run by hand;
        `path` says in the message where the spec is from.

        Raises
        ------
        InputError
            If either differs.
        """
        if expected is not None and expected != self.digest:
            raise InputError(
                f"{path}: the spec or the code is not what this job was planned with (--expect "
                f"{expected}, found {self.digest}): start the workflow again"
            )
        # No source has changed, so what the job runs has not.
        if self.package and self.package == package_digest():
            return
        code = code_digest(*self.modules)
        if code != self.code:
            raise InputError(
                f"{path}: the code changed since this job was planned (planned {self.code}, found "
                f"{code}): start the workflow again"
            )

    def check_inputs(self) -> None:
        """Refuse to read files that were made by other code, or of another config, than planned.

        Raises
        ------
        InputError
            Names the first such file, or one that is missing.
        """
        for files in self.inputs.values():
            for name, planned in files.items():
                _check_made(f"{self.results}/{name}", planned)

    def check_output(self, path: str | Path) -> None:
        """Refuse a file that another job made, other code, or the job of another config.

        Raises
        ------
        InputError
            If it is such a file, or missing.
        """
        _check_made(path, {"stage": self.stage, "code": self.code, "config": self.config})


def _check_made(path: str | Path, planned: Mapping[str, str]) -> None:
    """Refuse a file whose provenance is not the planned one."""
    stored = stored_provenance(path)
    for what, digest in planned.items():
        if digest != stored.get(what):
            raise InputError(
                f"{path}: made by other {what} than planned (planned {digest}, found "
                f"{stored.get(what)}): delete it if it was put there, and start the workflow again"
            )


def json_digest(value: Any) -> str:
    """Return the digest of a JSON value, such as what a job is told."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def read(path: str | Path, stage: str) -> Spec:
    """Read the spec of a stage.

    Raises
    ------
    InputError
        If the file is missing, is no spec, or one of another stage.
    """
    try:
        spec = _spec(parsed_json(Path(path).read_bytes()))
        # Told is what has a digest: no NaN.
        spec.config  # noqa: B018
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, allowed is the spec of a job") from None
    except _NoSpecError as error:
        raise InputError(f"{path}: not the spec of a job, {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if spec.stage != stage:
        raise InputError(f"{path}: the spec of `collapse {spec.stage}`, not of {stage}")
    return spec


class _NoSpecError(Exception):
    """What JSON spells is no spec, and where."""


def _spec(content: Any) -> Spec:
    """Return the spec that JSON spells; whatever else it holds is ignored."""
    match content:
        case {
            "stage": str(stage),
            "modules": [*modules],
            "job": dict(job),
            "code": str(code),
            "inputs": dict(inputs),
            "results": str(results),
            "package": str(package),
        } if all(isinstance(module, str) for module in modules) and _are_digests(inputs):
            return Spec(stage, tuple(modules), job, code, inputs, results, package)
    # Slow to import, so only to say what is wrong, or what may be absent.
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Spec).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise _NoSpecError(f"{place}: {first['msg']}") from None


def _are_digests(inputs: Mapping[str, Any]) -> bool:
    """Return whether inputs are, by role and file, digests by name."""
    return all(
        isinstance(files, dict)
        and all(
            isinstance(digests, dict) and all(isinstance(each, str) for each in digests.values())
            for digests in files.values()
        )
        for files in inputs.values()
    )
