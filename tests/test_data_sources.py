"""Files of data sets: where they come from, how they are checked and read."""

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import rdata

from collapse.artifacts import read_tensors
from collapse.data import sets, sources
from collapse.data.catalogue import find
from collapse.data.dataset import load
from collapse.data.kinds.files import DebianPackage
from collapse.data.makers.files import channel_statistics, fetch
from collapse.errors import InputError
from collapse.stages import data as stage
from collapse.training.samples import training_set
from conftest import CPU, run_stage

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"


def idx(array):
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return header + array.tobytes()


def idx_files():
    rng = np.random.default_rng(0)
    files = {}
    for prefix, count in (("train", 20), ("t10k", 10)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = idx(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return files


def cifar_files():
    rng = np.random.default_rng(1)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    records = {name: rng.integers(0, 256, (4, 3073), dtype=np.uint8) for name in names}
    for array in records.values():
        array[:, 0] %= 10
    return {name: array.tobytes() for name, array in records.items()}


def shuttle_frame(values=None):
    if values is None:
        values = np.random.default_rng(2).integers(-30_000, 30_000, (30, 9))
    frame = pd.DataFrame(values.astype(float), columns=[f"V{i}" for i in range(1, 10)])
    names = [name.replace(" ", ".") for name in find("shuttle").classes]
    return frame.assign(Class=pd.Categorical.from_codes(np.arange(len(frame)) % 7, names))


def rda(path, compression=None, **objects):
    rdata.write_rda(path, objects, compression=compression)
    return path.read_bytes()


def tar_gz(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def md5(content):
    return hashlib.md5(content).hexdigest()


def changed(monkeypatch, name, **changes):
    monkeypatch.setattr(f"{sets.__name__}.{name}.SET", replace(find(name), **changes))


def register(monkeypatch, name, files, **changes):
    checksums = {key: hashlib.sha256(content).hexdigest() for key, content in files.items()}
    changed(monkeypatch, name, checksums=checksums, **changes)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Temporary folders go where a test can see that they are gone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.glob("collapse-data-*")) == []


@pytest.fixture(params=["mnist", "fashion_mnist"])
def small(request, monkeypatch):
    """A data set of 20 + 10 images in the official format, not installed as a package."""
    files = idx_files()
    absent = DebianPackage("dataset-fashion-mnist", "/nonexistent")
    debian = absent if request.param == "fashion_mnist" else None
    register(monkeypatch, request.param, files, train_count=20, test_count=10, debian=debian)
    return request.param, files


@pytest.fixture
def fashion(monkeypatch):
    files = idx_files()
    debian = DebianPackage("dataset-fashion-mnist", "/nonexistent")
    register(monkeypatch, "fashion_mnist", files, train_count=20, test_count=10, debian=debian)
    return files


@pytest.fixture
def cifar(monkeypatch):
    files = cifar_files()
    archive = tar_gz(files)
    published = replace(find("cifar10").archive, md5=md5(archive))
    register(monkeypatch, "cifar10", files, train_count=20, test_count=4, archive=published)
    return files, archive


@pytest.fixture
def shuttle(tmp_path, monkeypatch):
    """A table of 20 + 10 samples, as R writes it."""
    frame = shuttle_frame()
    content = rda(tmp_path / "fabricated.rda", Shuttle=frame)
    register(monkeypatch, "shuttle", {"Shuttle.rda": content}, train_count=20, test_count=10)
    return frame


class BrokenOff(io.BytesIO):
    def read(self, size=-1):
        if self.tell():
            raise ConnectionResetError("connection reset by peer")
        return super().read(100)


@pytest.fixture
def broken():
    """Addresses whose transfer breaks off."""
    return set()


@pytest.fixture
def served(monkeypatch, broken):
    """A network that knows only the addresses in the returned mapping."""
    pages = {}

    def urlopen(request, *args, **kwargs):
        url = request.full_url
        if url not in pages:
            raise urllib.error.URLError(f"no route to {request.host}")
        response = (BrokenOff if url in broken else io.BytesIO)(pages[url])
        response.url, response.length = url, len(pages[url])
        return response

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return pages


def write(folder, files, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


def from_directory(name, folder):
    return fetch(name, ["directory"], str(folder), progress=lambda line: None)


def check_idx(arrays, files):
    assert arrays["train_inputs"].shape == (20, 1, 28, 28)
    assert arrays["train_inputs"].tobytes() == files[TRAIN_IMAGES][16:]
    assert arrays["test_inputs"].tobytes() == files["t10k-images-idx3-ubyte"][16:]
    assert arrays["train_labels"].dtype == np.int64
    assert arrays["train_labels"].tolist() == list(range(10)) * 2


@pytest.mark.parametrize("layout", ["", "raw", "torchvision", "dotted"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_directory_of_idx_files_is_read_in_any_layout(small, tmp_path, layout, zipped):
    name, files = small
    layout, dotted = layout.replace("dotted", ""), layout == "dotted"
    official = find(name).torchvision
    lying = {each.replace("-idx", ".idx") if dotted else each: files[each] for each in files}
    write(tmp_path / {"torchvision": f"{official}/raw"}.get(layout, layout), lying, zipped)
    tensors = from_directory(name, tmp_path)
    check_idx(tensors.arrays, files)
    assert tensors.attributes["source"] == "directory"
    assert tensors.attributes["sha256"][TRAIN_IMAGES] == (
        hashlib.sha256(files[TRAIN_IMAGES]).hexdigest()
    )


def flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        (TRAIN_IMAGES, flip, r"train-images-idx3-ubyte: sha256 is [0-9a-f]{64}, expected [0-9a-f]"),
        (TRAIN_IMAGES, lambda c: c[:-5], "truncated, 15691 bytes instead of 15696"),
        (TRAIN_IMAGES, lambda c: c + b"!", "too long, 15697 bytes instead of 15696"),
        (TRAIN_IMAGES, lambda c: c[:7], "truncated, 7 bytes are no idx header"),
        (TRAIN_IMAGES, lambda c: b"\0\0\x0d\x03" + c[4:], "0x00000d03, not 0x00000803"),
        (TRAIN_LABELS, lambda c: idx(np.zeros(19, np.uint8)), "holds 19 values, not 20"),
        (TRAIN_LABELS, lambda c: c[:-1] + b"\x0a", "train labels reach 10, allowed are 0 to 9"),
    ],
)
def test_damaged_idx_files_are_refused(fashion, tmp_path, name, damage, reason):
    write(tmp_path, fashion | {name: damage(fashion[name])})
    with pytest.raises(InputError, match=reason):
        from_directory("fashion_mnist", tmp_path)


def test_a_truncated_gzip_file_is_refused(fashion, tmp_path):
    write(tmp_path, fashion)
    path = tmp_path / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{path}: truncated or damaged gzip file"):
        from_directory("fashion_mnist", tmp_path)


def test_a_directory_that_is_absent_or_incomplete_is_refused(fashion, tmp_path):
    with pytest.raises(InputError, match="directory: no directory is configured"):
        fetch("fashion_mnist", ["directory"])
    with pytest.raises(InputError, match="nowhere is not a directory"):
        from_directory("fashion_mnist", tmp_path / "nowhere")
    del fashion[TRAIN_LABELS]
    write(tmp_path, fashion)
    with pytest.raises(InputError, match=f"no {TRAIN_LABELS} or {TRAIN_LABELS}.gz in "):
        from_directory("fashion_mnist", tmp_path)


def serve_official(monkeypatch, served, name, files):
    """Serve fabricated files at torchvision's addresses, under their own md5."""
    import torchvision

    official = getattr(torchvision.datasets, find(name).torchvision)
    zipped = {f"{key}.gz": gzip.compress(content) for key, content in files.items()}
    resources = [(key, md5(content)) for key, content in zipped.items()]
    monkeypatch.setattr(official, "resources", resources)
    for mirror in official.mirrors:
        served |= {mirror + key: content for key, content in zipped.items()}
    return official


def test_official_files_are_downloaded(small, monkeypatch, served):
    name, files = small
    serve_official(monkeypatch, served, name, files)
    tensors = fetch(name, ["download"], progress=lambda line: None)
    check_idx(tensors.arrays, files)


@pytest.mark.parametrize("damage", ["corrupt", "broken"])
def test_a_bad_mirror_leaves_it_to_the_next(monkeypatch, served, broken, damage):
    files = idx_files()
    register(monkeypatch, "mnist", files, train_count=20, test_count=10)
    first = f"{serve_official(monkeypatch, served, 'mnist', files).mirrors[0]}{TRAIN_IMAGES}.gz"
    if damage == "corrupt":
        served[first] = flip(served[first])
    else:
        broken.add(first)
    check_idx(fetch("mnist", ["download"]).arrays, files)


def test_a_corrupt_download_is_refused(fashion, monkeypatch, served):
    serve_official(monkeypatch, served, "fashion_mnist", fashion)
    (url,) = [url for url in served if url.endswith(f"{TRAIN_IMAGES}.gz")]
    good, bad = served[url], flip(served[url])
    served[url] = bad
    reason = f"download: {url}: md5 is {md5(bad)}, expected {md5(good)}"
    with pytest.raises(InputError, match=reason):
        fetch("fashion_mnist", ["download"])


def test_sources_are_tried_in_order(fashion, tmp_path, monkeypatch, served):
    serve_official(monkeypatch, served, "fashion_mnist", fashion)
    write(tmp_path, fashion | {TRAIN_IMAGES: flip(fashion[TRAIN_IMAGES])})
    lines = []
    tensors = fetch("fashion_mnist", ["directory", "download"], str(tmp_path), lines.append)
    check_idx(tensors.arrays, fashion)
    assert tensors.attributes["source"] == "download"
    assert [line.split(": ")[1] for line in lines] == ["directory", "download"]
    assert "sha256 is" in lines[0] and "sha256 as expected" in lines[1]

    write(tmp_path, fashion)
    tensors = fetch("fashion_mnist", ["directory", "download"], str(tmp_path), lines.append)
    assert tensors.attributes["source"] == "directory"


def test_if_no_source_answers_one_line_says_what_was_tried(
    fashion, monkeypatch, served, tmp_path, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "results" / "fashion_mnist.safetensors"
    tried = ["directory", "debian", "download"]
    with pytest.raises(InputError) as caught:
        run_stage(stage, out, name="fashion_mnist", kind="files", sources=tried, directory=None)
    error = str(caught.value)
    assert "\n" not in error
    for part in (
        "directory: no directory is configured",
        "debian: dataset-fashion-mnist is not installed and there is no apt-get here",
        "download: http://fashion-mnist.s3",
        "no route to fashion-mnist.s3",
        "install the Debian package dataset-fashion-mnist",
        "point datasets.fashion_mnist.directory at a folder with train-images-idx3-ubyte",
    ):
        assert part in error
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert not out.parent.exists()


def executable(path, text):
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def apt(fashion, tmp_path, monkeypatch):
    """Tools that know the package only after `update` into private lists."""
    tools, files = tmp_path / "tools", tmp_path / "files"
    tools.mkdir()
    write(files, fashion)
    executable(
        tools / "apt-get",
        f"""echo "$*" >> {tmp_path}/calls
        lists=$(echo "$*" | sed -n 's/.*Dir::State::Lists=\\([^ ]*\\).*/\\1/p')
        case "$*" in
        *update) test -d "$lists/partial" && echo package > "$lists/Packages" ;;
        *) test -n "$lists" && test -f "$lists/Packages" && : > package_1_all.deb && exit 0
           echo "E: Unable to locate package dataset-fashion-mnist" >&2; exit 100 ;;
        esac""",
    )
    executable(
        tools / "dpkg",
        f'test -f "$2" && mkdir -p "$3/share/fashion" && cp {files}/* "$3/share/fashion"',
    )
    package = DebianPackage("dataset-fashion-mnist", "/share/fashion")
    changed(monkeypatch, "fashion_mnist", debian=package)
    monkeypatch.setenv("PATH", str(tools))
    return tools


def test_a_debian_package_is_found_after_an_update(apt, fashion, tmp_path):
    tensors = fetch("fashion_mnist", ["debian"])
    check_idx(tensors.arrays, fashion)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == [
        "dataset-fashion-mnist",
        "update",
        "dataset-fashion-mnist",
    ]


def test_an_unreachable_debian_archive_is_refused(apt):
    executable(apt / "apt-get", 'echo "E: no network" >&2; exit 100')
    reason = "debian: apt-get download: E: no network; apt-get update: E: no network"
    with pytest.raises(InputError, match=reason):
        fetch("fashion_mnist", ["debian"])


def test_a_debian_tool_that_hangs_is_stopped(apt, monkeypatch):
    executable(apt / "apt-get", "exec sleep 60")
    monkeypatch.setattr(sources, "DOWNLOAD_SECONDS", 0.1)
    monkeypatch.setattr(sources, "UPDATE_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"apt-get update: still running after 0.1 s"):
        fetch("fashion_mnist", ["debian"])


def test_an_installed_debian_package_is_read(fashion, tmp_path, monkeypatch):
    write(tmp_path / "share", fashion)
    package = DebianPackage("dataset-fashion-mnist", str(tmp_path / "share"))
    changed(monkeypatch, "fashion_mnist", debian=package)
    monkeypatch.setenv("PATH", "")
    check_idx(fetch("fashion_mnist", ["debian"]).arrays, fashion)


def check_cifar(tensors, files):
    arrays = tensors.arrays
    assert arrays["train_inputs"].shape == (20, 3, 32, 32)
    assert arrays["test_inputs"].shape == (4, 3, 32, 32)
    second = np.frombuffer(files["data_batch_2.bin"], np.uint8).reshape(4, 3073)
    assert (arrays["train_labels"][4:8] == second[:, 0]).all()
    red, green, blue = second[1, 1:].reshape(3, 32, 32)
    assert (arrays["train_inputs"][5] == np.stack([red, green, blue])).all()


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar_files_are_read(cifar, tmp_path, folder):
    files, _ = cifar
    write(tmp_path / folder, files, zipped=False)
    check_cifar(from_directory("cifar10", tmp_path), files)


@pytest.mark.parametrize("folder", ["", "cifar-100-binary"])
def test_fine_labels_of_cifar100_are_read(monkeypatch, tmp_path, folder):
    rng = np.random.default_rng(4)
    records = {
        name: rng.integers(0, 256, (count, 3074), dtype=np.uint8)
        for name, count in (("train.bin", 6), ("test.bin", 3))
    }
    for array in records.values():
        array[:, :2] %= np.array([20, 100], np.uint8)
    files = {name: array.tobytes() for name, array in records.items()}
    register(monkeypatch, "cifar100", files, train_count=6, test_count=3)
    write(tmp_path / folder, files, zipped=False)
    made = from_directory("cifar100", tmp_path)
    for part, array in zip(("train", "test"), records.values(), strict=True):
        assert (made.arrays[f"{part}_labels"] == array[:, 1]).all()
        pictures = array[:, 2:].reshape(-1, 3, 32, 32)
        assert (made.arrays[f"{part}_inputs"] == pictures).all()
    assert len(made.attributes["classes"]) == len(set(made.attributes["classes"])) == 100


def test_a_cifar_archive_is_read_and_its_damage_refused(cifar, tmp_path):
    files, archive = cifar
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archive)
    check_cifar(from_directory("cifar10", tmp_path), files)

    path.write_bytes(archive[: len(archive) // 2])
    with pytest.raises(InputError, match="truncated or damaged tar.gz"):
        from_directory("cifar10", tmp_path)

    path.write_bytes(tar_gz({k: v for k, v in files.items() if k != "data_batch_3.bin"}))
    with pytest.raises(InputError, match="cifar-10-binary.tar.gz: holds no data_batch_3.bin"):
        from_directory("cifar10", tmp_path)

    path.write_bytes(tar_gz(files | {"data_batch_3.bin": flip(files["data_batch_3.bin"])}))
    with pytest.raises(InputError, match="data_batch_3.bin: sha256 is"):
        from_directory("cifar10", tmp_path)

    path.write_bytes(tar_gz(files | {"data_batch_3.bin": files["data_batch_3.bin"][:-1]}))
    with pytest.raises(InputError, match="data_batch_3.bin: truncated, 12291 bytes instead"):
        from_directory("cifar10", tmp_path)


def test_a_cifar_archive_is_downloaded(cifar, served):
    files, archive = cifar
    served[find("cifar10").archive.url] = archive
    check_cifar(fetch("cifar10", ["download"]), files)
    served[find("cifar10").archive.url] = archive[:-1]
    with pytest.raises(InputError, match="cifar-10-binary.tar.gz: md5 is"):
        fetch("cifar10", ["download"])


def test_cifar_pickles_are_never_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(InputError, match="the pickled cifar-10-batches-py is never read"):
        from_directory("cifar10", tmp_path)


def check_shuttle(tensors, frame):
    arrays = tensors.arrays
    table = frame.drop(columns="Class").to_numpy()
    assert arrays["train_inputs"].dtype == arrays["test_inputs"].dtype == np.int16
    assert (arrays["train_inputs"] == table[:20, :, None, None]).all()
    assert (arrays["test_inputs"] == table[20:, :, None, None]).all()
    labels = [*arrays["train_labels"], *arrays["test_labels"]]
    assert labels == frame["Class"].cat.codes.tolist()


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "xz"])
def test_a_shuttle_file_is_read(shuttle, tmp_path, compression):
    rda(tmp_path / "Shuttle.rda", compression, Shuttle=shuttle)
    check_shuttle(from_directory("shuttle", tmp_path), shuttle)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda c: c.replace(b"High", b"high"), "Shuttle.rda: sha256 is"),
        (lambda c: c[:-500], r"not R's data frame of numbers and a factor \(ValueError"),
        (lambda c: c[:30], r"not R's data frame of numbers and a factor \("),
        (lambda c: b"<html>", r"not R's data frame of numbers and a factor \("),
        (lambda c: b"", r"not R's data frame of numbers and a factor \("),
        (lambda c: lzma.compress(c)[:-20], "Shuttle.rda: truncated or damaged xz file"),
        (lambda c: lzma.compress(c)[:99] + bytes(99), "Shuttle.rda: truncated or damaged xz"),
    ],
)
def test_a_damaged_shuttle_file_is_refused(shuttle, tmp_path, damage, reason):
    path = tmp_path / "Shuttle.rda"
    path.write_bytes(damage(rda(path, Shuttle=shuttle)))
    with pytest.raises(InputError, match=reason) as error:
        from_directory("shuttle", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ({"Shuttle": shuttle_frame(np.zeros((29, 9)))}, "holds 29 x 9 values, not 30 x 9"),
        ({"Shuttle": shuttle_frame().drop(columns="V9")}, "holds 30 x 8 values, not 30 x 9"),
        ({"Shuttle": shuttle_frame().drop(columns="Class")}, "not R's data frame"),
        ({"Shuttle": np.zeros(3)}, "not R's data frame"),
        ({"Shuttle": shuttle_frame(), "other": np.zeros(3)}, "not R's data frame"),
        ({"Shuttle": shuttle_frame(np.full((30, 9), 0.5))}, "not whole numbers of 16 bits"),
        ({"Shuttle": shuttle_frame(np.full((30, 9), 2**15))}, "not whole numbers of 16 bits"),
        ({"Shuttle": shuttle_frame(np.full((30, 9), np.nan))}, "not whole numbers of 16 bits"),
    ],
)
def test_another_table_than_shuttle_is_refused(shuttle, tmp_path, objects, reason):
    rda(tmp_path / "Shuttle.rda", **objects)
    with pytest.raises(InputError, match=f"directory: Shuttle.rda: .*{reason}"):
        from_directory("shuttle", tmp_path)


@pytest.mark.parametrize(
    ("name", "tried", "message"),
    [
        ("kmnist", ["download"], "no data set 'kmnist', did you mean 'mnist'? (there are: bible, "),
        ("reacher", ["download"], "reacher.py: SET is Task(title='Reacher'"),
        ("mnist", ["ftp"], "datasets.mnist.sources: 'ftp' found, allowed are directory, package"),
        ("mnist", [], "datasets.mnist.sources: none found"),
        ("mnist", ["debian", "package"], "debian: no Debian package holds it | package: no Py"),
        ("digits", ["download"], "download: there is no official download"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(name, tried, message):
    with pytest.raises(InputError) as error:
        fetch(name, tried)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "digits.safetensors"
    run_stage(stage, out, name="digits", kind="files", sources=["package"], directory=None)
    return out


def test_digits_are_split_class_by_class(digits):
    from sklearn.datasets import load_digits

    official, data = load_digits(), load(digits)
    assert data.inputs.shape == (1442, 1, 8, 8) and data.inputs.dtype == np.uint8
    assert data.inputs.max() == data.maximum == 16
    totals = np.bincount(official.target)
    assert np.bincount(data.test_targets).tolist() == (totals // 5).tolist()
    assert np.bincount(data.targets).tolist() == (totals - totals // 5).tolist()
    fours = official.images[official.target == 4]
    assert (data.test_inputs[data.test_targets == 4][:, 0] == fours[4::5]).all()
    kept = np.delete(fours, np.s_[4::5], axis=0)
    assert (data.inputs[data.targets == 4][:, 0] == kept).all()


def test_the_file_of_a_data_set_says_where_it_comes_from_and_its_units(digits):
    attributes = read_tensors(digits)[1]
    assert attributes["name"] == "digits" and attributes["source"] == "package"
    assert attributes["sha256"] == dict(find("digits").checksums)
    samples, _ = training_set(load(digits), {"name": "digits"}, CPU)
    inputs = samples.take(slice(None))
    assert inputs.dtype.is_floating_point and inputs.shape == (1442, 1, 8, 8)
    assert abs(float(inputs.mean())) < 1e-5
    assert abs(float(inputs.std(correction=0)) - 1) < 1e-5


NOISY = {"name": "reacher", "kind": "demonstrations", "seed": 0, "action_noise": 0.1}


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"name": "digits", "kind": "files"}, "sources is None"),
        ({"name": 3, "kind": "files", "sources": []}, "name is 3"),
        ({"name": "digits", "sources": ["package"]}, "kind is None"),
        ({"name": "digits", "kind": "ftp"}, "kind is 'ftp', allowed are demonstrations, files"),
        ({**NOISY, "seed": -1}, "seed is -1"),
        ({**NOISY, "seed": 10**400}, "seed is 10{59} "),
        ({**NOISY, "action_noise": float("inf")}, "action_noise is inf"),
        ({**NOISY, "action_noise": 10**400}, "action_noise is 10{59} "),
    ],
)
def test_a_wrong_data_spec_is_refused(tmp_path, told, reason):
    with pytest.raises(InputError, match=f"^--spec: {reason}"):
        run_stage(stage, tmp_path / "x.safetensors", **told)
    assert not (tmp_path / "x.safetensors").exists()


def test_channel_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 5, 5), dtype=np.uint8)
    mean, std = channel_statistics(images, 255)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)


def test_statistics_of_a_table_are_exact():
    values = [-(2**15), 2**15 - 1, 2**15 - 1, 1]
    images = np.array([values * 1000, [3] * 4000], np.int16).T[:, :, None, None]
    mean, std = channel_statistics(images, 1)
    exact = Fraction(sum(values), 4)
    variance = Fraction(sum(value**2 for value in values), 4) - exact**2
    assert mean == [float(exact), 3]
    np.testing.assert_allclose(std, [float(variance) ** 0.5, 0], rtol=1e-15)


@pytest.fixture(scope="module")
def fashion_mnist():
    """The real data set, through the sources that the workflow uses when nothing is set up."""
    return fetch("fashion_mnist", ["directory", "debian", "download"])


def test_real_fashion_mnist_is_what_was_published(fashion_mnist):
    published = {
        "train_inputs": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train_labels": "9018921c3c673c538a1fc5bad174d6f9",
        "test_inputs": "8181f5470baa50b63fa0f6fddb340f0a",
        "test_labels": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    for name, expected in published.items():
        array = fashion_mnist.arrays[name].astype(np.uint8)
        assert md5(idx(array[:, 0] if array.ndim == 4 else array)) == expected
    (mean,), (std,) = fashion_mnist.attributes["mean"], fashion_mnist.attributes["std"]
    assert round(mean, 4) == 0.2860 and round(std, 4) == 0.3530


@pytest.fixture(scope="module")
def real_shuttle(tmp_path_factory):
    """The real data set, through the sources that the workflow uses when nothing is set up."""
    out = tmp_path_factory.mktemp("data") / "shuttle.safetensors"
    run_stage(
        stage, out, name="shuttle", kind="files", sources=["directory", "debian"], directory=None
    )
    return load(out)


def test_real_shuttle_is_split_as_published(real_shuttle):
    assert real_shuttle.inputs.shape == (43_500, 9, 1, 1)
    assert real_shuttle.test_inputs.shape == (14_500, 9, 1, 1)
    assert real_shuttle.inputs.dtype == real_shuttle.test_inputs.dtype == np.int16
    assert np.bincount(real_shuttle.targets).tolist() == [34108, 37, 132, 6748, 2458, 6, 11]
    assert np.bincount(real_shuttle.test_targets).tolist() == [11478, 13, 39, 2155, 809, 4, 2]
    assert real_shuttle.inputs[0].ravel().tolist() == [50, 21, 77, 0, 28, 0, 27, 48, 22]
    assert real_shuttle.test_inputs[0].ravel().tolist() == [55, 0, 81, 0, -6, 11, 25, 88, 64]
    assert real_shuttle.outputs[real_shuttle.targets[0]] == "Fpv Close"
    assert real_shuttle.outputs[real_shuttle.test_targets[0]] == "High"
