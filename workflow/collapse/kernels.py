"""CUDA kernels compiled at run time from source, and kept on disk for the next time."""

import ctypes
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class UnavailableError(Exception):
    """Nothing can be compiled here; the message says why, in one line."""


class Kernel:
    """A kernel that is launched on PyTorch's current stream.

    Parameters
    ----------
    source
        CUDA C++ with an ``extern "C"`` function `name`.
    defines
        Macros that the source expects.
    shared_bytes
        Dynamic shared memory of a block.

    Raises
    ------
    UnavailableError
        NVIDIA's compiler or its Python bindings are missing, or refuse the source.
    """

    def __init__(
        self, source: str, name: str, defines: Mapping[str, int], shared_bytes: int
    ) -> None:
        major, minor = torch.cuda.get_device_capability()
        options = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17"]
        options += [f"-D{key}={value}" for key, value in defines.items()]
        self._driver = _bindings("driver")
        code = _compiled(source, tuple(options))
        # Kept: the function lives as long as its module.
        self._module = self._call("cuModuleLoadData", code)
        self._function = self._call("cuModuleGetFunction", self._module, name.encode())
        attribute = self._driver.CUfunction_attribute
        most = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._call("cuFuncSetAttribute", self._function, most, shared_bytes)
        self._shared_bytes = shared_bytes

    def __call__(self, blocks: int, threads: int, *arguments: Tensor | float | int) -> None:
        """Launch the kernel: tensors are passed as pointers, floats as doubles, integers as int."""
        values, types = zip(*map(_argument, arguments), strict=True)
        stream = torch.cuda.current_stream().cuda_stream
        self._call(
            "cuLaunchKernel", self._function, blocks, 1, 1, threads, 1, 1, self._shared_bytes,
            stream, (values, types), 0,
        )  # fmt: skip

    def _call(self, name: str, *arguments: Any) -> Any:
        return _checked(name, getattr(self._driver, name)(*arguments))


def _argument(value: Tensor | float | int) -> tuple[float | int, Any]:
    if isinstance(value, Tensor):
        return value.data_ptr(), ctypes.c_void_p
    return value, ctypes.c_double if isinstance(value, float) else ctypes.c_int


def _bindings(name: str) -> Any:
    # Only where there is something to compile: PyTorch brings them along with its GPU's libraries.
    try:
        return import_module(f"cuda.bindings.{name}")
    except ImportError as error:
        raise UnavailableError(f"cuda.bindings: {error}") from None


def _checked(name: str, returned: tuple) -> Any:
    """Return what a call of the bindings returned, which begins with a status."""
    status, *values = returned
    if int(status) != 0:
        raise UnavailableError(f"{name}: {status.name}")
    return values[0] if values else None


@cache
def _compiled(source: str, options: tuple[str, ...]) -> bytes:
    """Return the machine code of a source, from the disk if it was compiled before."""
    nvrtc = _bindings("nvrtc")
    # PyTorch has loaded the library; where it has not, the bindings raise what they like.
    try:
        version = "-".join(map(str, nvrtc.nvrtcVersion()[1:]))
    except (RuntimeError, OSError) as error:
        raise UnavailableError(f"nvrtc: {error}") from None
    key = hashlib.sha256("\0".join([version, *options, source]).encode()).hexdigest()[:32]
    path = _folder() / f"{key}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        code = _compile(nvrtc, source, options)
    _keep(path, code)
    return code


def _compile(nvrtc: Any, source: str, options: Sequence[str]) -> bytes:
    program = _checked(
        "nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], [])
    )
    encoded = [option.encode() for option in options]
    try:
        _checked("nvrtcCompileProgram", nvrtc.nvrtcCompileProgram(program, len(encoded), encoded))
        code = bytes(_checked("nvrtcGetCUBINSize", nvrtc.nvrtcGetCUBINSize(program)))
        _checked("nvrtcGetCUBIN", nvrtc.nvrtcGetCUBIN(program, code))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return code


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "collapse-atlas", "kernels")


def _keep(path: Path, code: bytes) -> None:
    """Write a file as a whole or not at all; a folder that cannot be written to keeps nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)
    except OSError as error:
        print(f"{path.parent}: compiled kernels are not kept ({error})", file=sys.stderr)
