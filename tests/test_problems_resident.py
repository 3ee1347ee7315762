"""Kernels that hold one problem in one block, against the batched route and plain autograd."""

import ctypes
import re
import shutil
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapse import kernels
from collapse.problems import resident
from collapse.problems.deep_linear import DeepLinear, class_targets
from collapse.problems.descent import _descend_pass, _Descent
from collapse.problems.parameters import flat_copy
from collapse.problems.resident import Card, Shape, form_of, pays
from conftest import FEW, f64, needs_gpu

HOPPER, OLDER = Card(232_448, True), Card(101_376, False)
# What a GPU's compiler makes of it stands in the kernel; here it is a function.
PRODUCTS = {16: "left, right", 4: "left, &right"}


def a_problem(sizes, width, layers, bias, reduced):
    """Three problems with decays and learning rates of their own, and where they start."""
    generator = torch.Generator().manual_seed(len(sizes))
    decays = 1e-2 * torch.rand(3, layers + 1, generator=generator, dtype=torch.float64)
    problem = DeepLinear(
        class_targets(sizes), (width,) * layers, decays[:, 1:], decays[:, 0], bias=bias
    )
    start = problem.initial(range(3), 1.5 / width)
    if reduced:
        problem, start, _ = problem.reduced(start)
    return problem, start, f64([0.05, 0.1, 0.15])


def shape_of(problem):
    outputs, columns = problem.targets.shape
    return Shape(len(problem.widths), outputs, problem.widths[0], columns, problem.bias)


def emulated(form, folder):
    """The kernel of a form as a function of the CPU, a block after the other."""
    source = form.source.replace("extern __shared__", "static")
    source = source.replace("memory[]", f"memory[{form.shared_bytes // 8}]")
    for inner, arguments in PRODUCTS.items():
        before = "" if inner == 16 else "double left[2] = {upper, lower}; "
        call = f"{before}warp_product<{inner}>(result, {arguments});"
        pattern = rf'asm\("mma\.sync\.aligned\.m16n8k{inner}\.row.*?\);'
        source = re.sub(pattern, call, source, flags=re.DOTALL)
    source = source.replace("static __align__(16)", "alignas(16) static")
    names = "position, velocity, targets, ones, scale, decay, momentum, steps, batch"
    program = f"""
        #include "{Path(__file__).parent / "one_block.h"}"
        {source}
        extern "C" void run(
            double* position, double* velocity, const double* targets, const double* ones,
            const double* scale, const double* decay, double momentum, int steps, int batch
        ) {{
            for (int block = 0; block < batch; ++block)
                run_block({form.threads}, block, [&] {{ descend({names}); }});
        }}
    """
    (folder / "kernel.cpp").write_text(program)
    defines = [f"-D{key}={value}" for key, value in form.defines.items()]
    command = ["g++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", *defines]
    subprocess.run([*command, folder / "kernel.cpp", "-o", folder / "kernel.so"], check=True)
    return ctypes.CDLL(folder / "kernel.so").run


def descents(problem, start, rates):
    """The batched route's descent, and the buffers that a kernel is to change as that does."""
    theirs = _Descent(problem, start, rates, 0.9, _descend_pass)
    return theirs, flat_copy(start), flat_copy(start.map(torch.zeros_like))


def assert_same(ours, theirs, tolerance):
    for left, right in zip(ours.parameters.tensors(), theirs.parameters.tensors(), strict=True):
        for one, other in zip(left, right, strict=True):
            assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("card", [HOPPER, OLDER], ids=["tensor cores", "general"])
@pytest.mark.parametrize(
    "sizes, width, layers, bias, reduced",
    [
        ([12, 7, 4, 26], 16, 3, True, True),
        ([9, 5, 70], 48, 2, True, True),
        ([13] * 7, 32, 4, False, False),
        ([40, 50], 80, 1, True, True),
        ([3, 4, 2, 8, 1], 13, 3, True, False),
        ([20] * 16, 33, 1, False, True),
        ([2, 3, 1, 4], 48, 3, True, False),
        ([1, 5, 3, 2, 4, 1, 9], 64, 2, False, False),
    ],
)
def test_a_block_takes_the_steps_of_the_batched_route(
    tmp_path, card, sizes, width, layers, bias, reduced
):
    problem, start, rates = a_problem(sizes, width, layers, bias, reduced)
    form = form_of(shape_of(problem), card)
    run = emulated(form, tmp_path)
    theirs, position, velocity = descents(problem, start, rates)
    decays = torch.cat([problem.feature_decay.unsqueeze(1), problem.weight_decay], 1)
    constants = problem.targets, problem.ones, rates / problem.samples, rates.unsqueeze(1) * decays
    tensors = [position.rows, velocity.rows, *(each.contiguous() for each in constants)]
    for steps in (1, 7):
        pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)
        run(*pointers, ctypes.c_double(0.9), steps, problem.batch)
        theirs._run(steps)
    assert_same(position, theirs.position, 1e-13)
    assert_same(velocity, theirs.velocity, 1e-13)


def on_a_gpu(problem, start, rates):
    """The same problems there, and the descents of both routes."""
    there = {name: getattr(problem, name).cuda() for name in ("targets", "ones")}
    there |= {name: getattr(problem, name).cuda() for name in ("weight_decay", "feature_decay")}
    problem, start, rates = replace(problem, **there), start.map(Tensor.cuda), rates.cuda()
    ours = _Descent(problem, start, rates, 0.9, _descend_pass)
    assert problem.resident(ours.position, ours.velocity, rates, 0.9) is not None
    return problem, ours, _Descent(Batched(problem), start, rates, 0.9, _descend_pass)


class Batched:
    """A problem without a kernel of its own."""

    def __init__(self, problem):
        self.objective, self.accumulator = problem.objective, problem.accumulator

    def resident(self, *_):
        return None


@needs_gpu
@settings(FEW, max_examples=12)
@given(
    # Fewer samples than dimensions too.
    sizes=st.one_of(st.lists(st.integers(1, most), min_size=2, max_size=16) for most in (3, 40)),
    width=st.one_of(st.integers(1, 70), st.sampled_from([16, 32, 48, 64, 80])),
    layers=st.integers(1, 7),
    bias=st.booleans(),
    reduced=st.booleans(),
)
def test_the_routes_of_a_gpu_agree_on_any_shape(sizes, width, layers, bias, reduced):
    _, ours, theirs = on_a_gpu(*a_problem(sizes, width, layers, bias, reduced))
    for steps in (1, 29):
        ours._run(steps)
        theirs._run(steps)
    assert_same(ours.position, theirs.position, 1e-12)
    assert_same(ours.velocity, theirs.velocity, 1e-12)


SHAPES = [
    ([100] * 4, 64, 6, False, True),
    ([100] * 4, 64, 6, True, False),
    ([30, 9, 2], 45, 3, True, True),
]


@needs_gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_on_a_gpu_gives_the_same_bytes_however_it_is_split(shape):
    runs = [on_a_gpu(*a_problem(*shape))[1] for _ in range(3)]
    for run, parts in zip(runs, ([50], [1, 30, 19], [50]), strict=True):
        for steps in parts:
            run._run(steps)
    for run in runs[1:]:
        assert torch.equal(run.position.rows, runs[0].position.rows)
        assert torch.equal(run.velocity.rows, runs[0].velocity.rows)


@needs_gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_2000_steps_of_a_block_are_those_of_plain_autograd(shape):
    problem, ours, _ = on_a_gpu(*a_problem(*shape))
    plain = ours.position.parameters.map(lambda tensor: tensor.detach().cpu().clone())
    problem, rates = on_a_cpu(problem), (0.05, 0.1, 0.15)
    ours._run(2000)
    for index, rate in enumerate(rates):
        single = problem.select(slice(index, index + 1))
        leaves = plain.map(lambda t, index=index: t[index : index + 1].clone().requires_grad_())
        optimiser = torch.optim.SGD(leaves.tensors(), rate, momentum=0.9)
        for _ in range(2000):
            optimiser.zero_grad()
            single.objective(leaves).sum().backward()
            optimiser.step()
        for left, right in zip(ours.position.parameters.tensors(), leaves.tensors(), strict=True):
            error = (left[index].cpu() - right[0]).norm()
            assert error <= 1e-14 * right.norm()


def on_a_cpu(problem):
    names = ("targets", "ones", "weight_decay", "feature_decay")
    return replace(problem, **{name: getattr(problem, name).cpu() for name in names})


def test_wide_or_many_classed_problems_fit_no_form():
    fits = Shape(6, 4, 64, 68, False)
    assert "mma.sync" in form_of(fits, HOPPER).source
    assert "mma.sync" not in form_of(fits, OLDER).source
    assert "mma.sync" not in form_of(replace(fits, width=63, columns=67), HOPPER).source
    assert form_of(replace(fits, outputs=17), HOPPER) is None
    assert form_of(replace(fits, width=1024, columns=1028), HOPPER) is None


def test_few_wide_problems_go_kernel_by_kernel():
    narrow, wide = Shape(6, 4, 64, 68, False), Shape(1, 4, 256, 260, False)
    assert pays(narrow, 1) and pays(narrow, 1024)
    assert pays(wide, 64) and not pays(wide, 4)
    assert not pays(Shape(6, 4, 512, 516, False), 64)


@FEW
@given(
    layers=st.integers(1, 12),
    outputs=st.integers(1, 20),
    width=st.one_of(st.integers(1, 300), st.integers(1, 12).map(lambda tiles: 16 * tiles)),
    more=st.integers(1, 500),
    bias=st.booleans(),
    card=st.sampled_from([HOPPER, OLDER]),
)
def test_every_form_fits_the_card(layers, outputs, width, more, bias, card):
    form = form_of(Shape(layers, outputs, width, width + more, bias), card)
    if form is not None:
        assert form.shared_bytes <= card.shared_bytes
        assert form.threads % 32 == 0 and 32 <= form.threads <= 1024


def code(source, defines, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    options = ("--gpu-architecture=sm_90", "--std=c++17")
    options += tuple(f"-D{key}={value}" for key, value in defines.items())
    kernels._compiled.cache_clear()
    return kernels._compiled(source, options)


@pytest.fixture
def nvrtc():
    """NVIDIA's compiler, which comes with PyTorch for its GPUs and needs none."""
    try:
        kernels._bindings("nvrtc").nvrtcVersion()
    except (kernels.UnavailableError, RuntimeError, OSError) as error:
        pytest.skip(f"needs NVIDIA's compiler: {error}")


@pytest.mark.parametrize("shape", [Shape(6, 4, 64, 68, True), Shape(3, 10, 33, 45, True)])
def test_a_gpus_compiler_takes_the_sources_and_the_disk_keeps_what_it_made(
    tmp_path, monkeypatch, nvrtc, shape
):
    form = form_of(shape, HOPPER)
    made = code(form.source, form.defines, tmp_path, monkeypatch)
    assert made.startswith(b"\x7fELF")
    (kept,) = tmp_path.rglob("*.cubin")
    assert kept.read_bytes() == made
    kept.write_bytes(b"kept")
    assert code(form.source, form.defines, tmp_path, monkeypatch) == b"kept"


def test_a_source_that_does_not_compile_leaves_nothing_behind(tmp_path, monkeypatch, nvrtc):
    with pytest.raises(kernels.UnavailableError, match="^nvrtcCompileProgram: "):
        code("no kernel", {}, tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("*.cubin"))


def test_compiled_code_is_used_where_no_disk_keeps_it(tmp_path, monkeypatch, capsys, nvrtc):
    (tmp_path / "file").write_text("")
    form = form_of(Shape(1, 2, 5, 7, False), OLDER)
    made = code(form.source, form.defines, tmp_path / "file", monkeypatch)
    assert made.startswith(b"\x7fELF")
    assert "compiled kernels are not kept" in capsys.readouterr().err


def test_without_a_compiler_a_line_says_so_once(monkeypatch, capsys):
    card = SimpleNamespace(shared_memory_per_block_optin=232_448, major=9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(resident, "Kernel", refused)
    resident._say_once.cache_clear()
    for width in (16, 32):
        assert resident._kernel.__wrapped__(Shape(1, 2, width, width + 2, False), 0) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(cuda.bindings: not here)")


def refused(*_):
    raise kernels.UnavailableError("cuda.bindings: not here")
