"""What determines a result: the code digest, the config digest and the provenance record.

Snakemake sees a rule's command, params and inputs, not the package behind the command. The
code digest makes the package visible: it hashes exactly those modules that a stage imports,
followed statically through the import graph, by their syntax trees, so that a comment or a
docstring changes nothing.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from collapse.artifacts import canonical_json, stored_digest
from collapse.errors import InputError

PACKAGE_ROOT = Path(__file__).resolve().parent
_PACKAGE = PACKAGE_ROOT.name
_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "torch", "torchvision")


def _source(module: str) -> Path | None:
    path = PACKAGE_ROOT.parent.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return tree


def _with_parents(module: str) -> Iterable[str]:
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _imports(module: str, path: Path) -> set[str]:
    """Return the modules of this package that `module` imports, anywhere in its text."""
    names: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*stem, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] == _PACKAGE and _source(name)}


def imported_modules(roots: Iterable[str]) -> list[str]:
    """Return `roots` and every module of this package that they import, sorted.

    Raises
    ------
    InputError
        If a root does not exist.
    """
    pending, seen = [], set()
    for root in roots:
        if _source(root) is None:
            raise InputError(f"no module {root}: the config names something that does not exist")
        pending.append(root)
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in [module, *_imports(module, _source(module))]:
            pending.extend(parent for parent in _with_parents(name) if parent not in seen)
    return sorted(seen)


@cache
def code_digest(*roots: str) -> str:
    """Return the digest of the code reachable from the modules `roots`."""
    digest = hashlib.sha256(f"{sys.version_info.major}.{sys.version_info.minor}".encode())
    for module in imported_modules(roots):
        digest.update(f"|{module}|{ast.dump(_tree(_source(module)))}".encode())
    return digest.hexdigest()[:16]


def stage_modules(stage: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the root modules of a stage's code digest: the stage and what its spec names.

    Modules that a stage loads by name (a model, a problem, a study's theory, figure or
    claims) are invisible to a static import graph and so become roots themselves.
    """
    roots = [f"{_PACKAGE}.stages.{stage}"]
    config, study = spec.get("config", {}), spec.get("study")
    if stage in ("train", "features"):
        roots.append(f"{_PACKAGE}.models.{config['model']['kind']}")
    elif stage == "data":
        roots.append(f"{_PACKAGE}.data.{spec.get('maker', 'fetch')}")
    elif stage == "solve":
        roots.append(f"{_PACKAGE}.problems.{config['problem']['kind']}")
    elif stage == "predictions":
        roots.append(f"{_PACKAGE}.theory.{study}")
    elif stage == "figure":
        roots.append(f"{_PACKAGE}.studies.{study}.{spec['figure']}")
    elif stage == "notebook":
        roots += [f"{_PACKAGE}.{part}.{study}" for part in ("studies", "theory")]
    elif stage == "claims":
        roots.extend(f"{_PACKAGE}.studies.{name}.claims" for name in spec["studies"])
    return tuple(roots)


def stage_digest(stage: str, spec: Mapping[str, Any]) -> str:
    """Return the code digest of a stage at the given spec."""
    return code_digest(*stage_modules(stage, spec))


def config_digest(spec: Mapping[str, Any]) -> str:
    """Return the digest of the part of the config that a job reads."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:16]


def check_expected(stage: str, spec: Mapping[str, Any], expected: str | None) -> None:
    """Refuse to run when the code on disk is no longer the code that the job was planned with.

    Raises
    ------
    InputError
        If `expected` is given and differs from the digest of the code on disk.
    """
    found = stage_digest(stage, spec)
    if expected is not None and expected != found:
        raise InputError(
            f"{stage}: the code changed since this job was planned "
            f"(--expect {expected}, found {found}): start the workflow again"
        )


def record(
    stage: str,
    spec: Mapping[str, Any],
    inputs: Iterable[str | Path] = (),
    device: str = "cpu",
) -> dict[str, Any]:
    """Return the provenance of a result: everything that determines it.

    Parameters
    ----------
    stage, spec
        The stage and the part of the config that it read.
    inputs
        Paths of the files that it read, recorded by name and digest.
    device
        Device class, such as ``cpu`` or the name of a GPU.
    """
    return {
        "stage": stage,
        "code": stage_digest(stage, spec),
        "config": config_digest(spec),
        "inputs": [[Path(path).name, stored_digest(path)] for path in inputs],
        "packages": {name: version(name) for name in _LIBRARIES},
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "device": device,
        "seed": spec.get("seeds"),
    }
