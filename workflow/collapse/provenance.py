"""The code digest: what of a job's code determines its result.

Snakemake sees a rule's command, params and inputs, not the package behind the command. The
code digest makes the package visible: it hashes exactly those modules that a stage imports,
followed statically through the import graph, by their syntax trees, so that a comment or a
docstring changes nothing.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from collapse.errors import InputError

PACKAGE_ROOT = Path(__file__).resolve().parent
_PACKAGE = PACKAGE_ROOT.name


@cache
def _source(module: str) -> Path | None:
    path = PACKAGE_ROOT.parent.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _Parsed(NamedTuple):
    """What is read from a file. Its tree is let go: a million nodes that stay cost a plan a third.

    Attributes
    ----------
    spelt
        The syntax tree without docstrings, as text; comments are in no tree.
    imports
        Import statements anywhere in it.
    docstrings
        Each with whose it is.
    """

    spelt: str
    imports: list[ast.Import | ast.ImportFrom]
    docstrings: list[tuple[str, str]]


@cache
def _parsed(path: Path) -> _Parsed:
    """Parse a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports, docstrings = [], []
    for node in _statements(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                docstrings.append((getattr(node, "name", ""), str(body[0].value.value)))
                # A body must not be empty: a class may be nothing but its docstring.
                node.body = body[1:] or [ast.Pass()]
    return _Parsed(ast.dump(tree), imports, docstrings)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield a tree's root and its statements, with what they are grouped in, but no expression.

    Definitions and imports are statements; most of what is in a tree is expressions.
    """
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending.extend(getattr(node, name, ()))


def _with_parents(module: str) -> Iterable[str]:
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


# Of each module once: a plan asks for many digests, whose modules are mostly the same.
@cache
def _imports(module: str, path: Path) -> frozenset[str]:
    """Return the modules of this package that `module` imports, anywhere in its text."""
    names: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in _parsed(path).imports:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            stem = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*stem, *([node.module] if node.module else [])])
            names.add(base)
            # `from package import name`: the name may be a module or something in one.
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(n for n in names if n.split(".")[0] == _PACKAGE and _source(n))


def imported_modules(roots: Iterable[str]) -> list[str]:
    """Return `roots` and every module of this package that they import, sorted.

    Raises
    ------
    InputError
        If a root does not exist.
    """
    pending, modules = [], set()
    for root in roots:
        if _source(root) is None:
            raise InputError(f"no module {root}: a study or a kind that the config names needs it")
        pending.append(root)
    while pending:
        module = pending.pop()
        if module in modules:
            continue
        modules.add(module)
        # Importing a module runs the packages that it lies in, too.
        for name in [module, *_imports(module, _source(module))]:
            pending.extend(parent for parent in _with_parents(name) if parent not in modules)
    return sorted(modules)


# The Python too: it determines results, and how `ast.dump` spells a tree.
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}".encode()


@cache
def package_digest() -> str:
    """Return the digest of all this package's sources, byte by byte.

    Where it is the same all code digests are: a job that finds it need not parse what it runs.
    """
    digest = hashlib.sha256(_PYTHON)
    for folder, folders, files in os.walk(PACKAGE_ROOT, followlinks=True):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                content = path.read_bytes()
                place = path.relative_to(PACKAGE_ROOT)
                digest.update(f"|{place}|{len(content)}|".encode() + content)
    return digest.hexdigest()[:16]


@cache
def code_digest(*roots: str) -> str:
    """Return the digest of the code reachable from the modules `roots`."""
    digest = hashlib.sha256(_PYTHON)
    for module in imported_modules(roots):
        digest.update(f"|{module}|{_parsed(_source(module)).spelt}".encode())
    return digest.hexdigest()[:16]


def modules_in(package: str) -> list[str]:
    """Return a package of this one and all modules in it, sorted; none of them is imported."""
    root = _source(package).parent
    paths = (path.relative_to(root).with_suffix("") for path in root.rglob("*.py"))
    names = (".".join([package, *path.parts]).removesuffix(".__init__") for path in paths)
    return sorted(names)


def docstring_digest(*modules: str) -> str:
    """Return the digest of the docstrings of these modules, of which `code_digest` says nothing."""
    digest = hashlib.sha256()
    for module in modules:
        for name, text in _parsed(_source(module)).docstrings:
            digest.update(f"|{module}|{name}|{len(text)}|{text}".encode())
    return digest.hexdigest()[:16]
