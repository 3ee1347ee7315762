"""Corpora: the Bible's file and its compression, tokens by frequency, grammars of known law."""

import gzip
import itertools
import shutil
import struct
import subprocess
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse.data import catalogue, corpus, hidden_markov
from collapse.data.dataset import load
from collapse.data.formats import SourceError
from collapse.data.kinds.files import DebianPackage
from collapse.data.kinds.text import Text
from collapse.data.layouts import bible_data
from collapse.data.makers import grammar as grammar_maker
from collapse.data.makers import text as text_maker
from collapse.data.sets import bible
from collapse.data.sets import grammar as toy
from collapse.errors import InputError
from collapse.stages import data as stage
from conftest import FEW, run_stage

VERSES = [
    "Holy Bible, made up for tests.",
    "Ge1:1 In the beginning God's earth.",
    "Ge1:2 And the earth; (and) the deep?",
    *(f"1Ch{chapter}:1 The son of word{'abcdefghijkl'[chapter]}." for chapter in range(1, 10)),
    "Rev1:1 Amen, the unheard.",
]
TEXT = "".join(f"{line}\n" for line in VERSES).encode()


# Compression


def compressed(parts, most=16):
    """What Unix compress makes of bytes (LZW), with the table cleared before each part but one."""
    stream, bits, size = bytearray(), [], 9

    def flush():
        """Whole groups of eight codes: padding fills the last."""
        whole = -len(bits) % (8 * size)
        bits.extend([0] * whole)
        value = sum(bit << place for place, bit in enumerate(bits))
        stream.extend(value.to_bytes(len(bits) // 8, "little"))
        bits.clear()

    def put(code):
        bits.extend(code >> place & 1 for place in range(size))

    for number, part in enumerate(parts):
        if number:
            put(256)
            flush()
            size = 9
        table, following, known = {bytes([value]): value for value in range(256)}, 257, b""
        for value in part:
            longer = known + bytes([value])
            if longer in table:
                known = longer
                continue
            put(table[known])
            if following < 1 << most:
                table[longer] = following
                following += 1
                if following > 1 << size and size < most:
                    flush()
                    size += 1
            known = bytes([value])
        if known:
            put(table[known])
            # The reader's table grows by this code, too.
            if following + 1 > (1 << size) + 1 and size < most:
                flush()
                size += 1
            following += 1
    ending = bits + [0] * (-len(bits) % 8)
    value = sum(bit << place for place, bit in enumerate(ending))
    return b"\x1f\x9d" + bytes([0x80 | most]) + bytes(stream) + value.to_bytes(
        len(ending) // 8, "little"
    )  # fmt: skip


def packed(text, window=400):
    """A file of the Bible Retrieval System, of which only the first begin of a window is right."""
    stream = compressed([text[i : i + window] for i in range(0, len(text), window)])
    count = max(1, -(-len(text) // window))
    header = 0x54 + 8 + 4 * (count + 1)
    places = [header + 3] * count + [header + len(stream)]
    beginning = bible_data.MAGIC.ljust(0x54, b"\0")
    return beginning + struct.pack(f">{3 + count}I", window, count, *places) + stream


needs_gzip = pytest.mark.skipif(shutil.which("gzip") is None, reason="needs gzip")


def by_gzip(stream):
    return subprocess.run(["gzip", "-dc"], input=stream, capture_output=True, check=True).stdout


@needs_gzip
@FEW
@given(
    parts=st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=4),
    repeats=st.integers(1, 5),
)
def test_a_stream_is_read_as_gzip_reads_it(parts, repeats):
    parts = [part * repeats for part in parts]
    stream = compressed(parts)
    assert by_gzip(stream) == b"".join(parts)
    assert bible_data.decompressed(stream) == b"".join(parts)


@needs_gzip
@pytest.mark.parametrize("most", [10, 12, 16])
def test_a_table_that_is_full_stays_as_it_is(most):
    numbers = np.random.default_rng(0).integers(0, 256, 6000, dtype=np.uint8)
    parts = [numbers.tobytes(), b"tail " * 50]
    stream = compressed(parts, most)
    assert bible_data.decompressed(stream) == by_gzip(stream) == b"".join(parts)


def test_a_code_beyond_the_table_is_refused():
    stream = b"\x1f\x9d\x90" + (97 | 400 << 9).to_bytes(4, "little")
    with pytest.raises(ValueError, match="code 400 of 257 at bit 33"):
        bible_data.decompressed(stream)


# The Bible's file


def made_up(content, **changes):
    """The Bible's data set with another file."""
    return replace(bible.SET, checksums={"bible.data": sha256(content).hexdigest()}, **changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small file of the official format, which the data set is taken to be."""
    content = packed(TEXT)
    monkeypatch.setattr(bible, "SET", made_up(content, vocabulary=30))
    (tmp_path / "bible.data").write_bytes(content)
    return tmp_path


def test_verses_become_chapters_of_words_marks_and_ends():
    chapters = bible_data.read(bible.SET, {"bible.data": packed(TEXT)})
    assert len(chapters) == 11
    assert chapters[0][:7] == ["in", "the", "beginning", "god's", "earth", ".", "\n"]
    assert chapters[0][7:] == [
        "and", "the", "earth", ";", "(", "and", ")", "the", "deep", "?", "\n"
    ]  # fmt: skip
    assert chapters[-1] == ["amen", ",", "the", "unheard", ".", "\n"]


def test_the_bible_is_a_data_set_of_positions(folder, tmp_path):
    run_stage(
        stage, tmp_path / "out.safetensors", name="bible", kind="text", sources=["directory"],
        directory=str(folder),
    )  # fmt: skip
    dataset = load(tmp_path / "out.safetensors")
    names = dataset.outputs
    assert not dataset.regression and dataset.test_surprisal is None
    counts = np.bincount(dataset.targets, minlength=len(names))
    tokens = [names[i] for i in dataset.inputs.ravel()] + [names[dataset.targets[-1]]]
    chapters = bible_data.read(bible.SET, {"bible.data": packed(TEXT)})
    # Every tenth chapter is held out.
    kept = [chapter for number, chapter in enumerate(chapters, 1) if number % 10]
    assert tokens == list(itertools.chain(*kept))
    assert [names[i] for i in dataset.targets] == tokens[1:]
    frequencies = [tokens.count(name) for name in names]
    assert frequencies == sorted(frequencies, reverse=True) and counts.sum() == len(tokens) - 1
    held = [names[i] for i in dataset.test_inputs.ravel()] + [names[dataset.test_targets[-1]]]
    assert names[-1] == corpus.UNSEEN and held[3] not in tokens
    assert held == ["the", "son", "of", corpus.UNSEEN, ".", "\n"]


def test_the_installed_package_is_read_and_its_folder_may_be_others_too(folder, monkeypatch):
    package = DebianPackage("bible-kjv-text", str(folder))
    monkeypatch.setattr(bible, "SET", replace(bible.SET, debian=package))
    found = text_maker.fetch("bible", ["debian"], progress=lambda _: None)
    assert found.attributes["source"] == "debian"
    # Without the file the package is not installed, whatever else lies there.
    (folder / "bible.data").unlink()
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(InputError, match="bible-kjv-text is not installed and there is no apt-get"):
        text_maker.fetch("bible", ["debian"], progress=lambda _: None)


def test_a_compressed_copy_of_the_file_will_do(folder):
    path = folder / "bible.data"
    (folder / "bible.data.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    found = text_maker.fetch("bible", ["directory"], str(folder), progress=lambda _: None)
    assert found.arrays["train_inputs"].dtype == np.int32


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a file of the Bible Retrieval System"),
        (packed(TEXT)[:0x58], "truncated header"),
        (packed(TEXT)[:-3], r"\d+ bytes found, its header says \d+"),
        (packed(b"Title\n"), "0 documents with 0 training tokens, needed are 2 or more"),
        (packed(b"Title\nGe1:1 Amen\n"), "1 documents with 0 test tokens"),
        (packed(b"Title\nno verse\n"), "line 2 of the text is no verse: 'no verse'"),
        (packed("Title\nGe1:1 Amén\n".encode()), "not a text in ASCII"),
        (packed(TEXT), "sha256 is .*, expected"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, reason):
    (tmp_path / "bible.data").write_bytes(content)
    with pytest.raises(InputError, match=f"directory: bible.data: .*{reason}") as caught:
        text_maker.fetch("bible", ["directory"], str(tmp_path), progress=lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_file_without_its_stream_is_refused():
    content = bytearray(packed(TEXT))
    begin = struct.unpack_from(">I", content, 0x5C)[0] - 3
    content[begin] = 0
    with pytest.raises(SourceError, match=f"no compressed text at byte {begin}"):
        bible_data.unpacked("bible.data", bytes(content))


def test_a_missing_corpus_names_what_helps(tmp_path):
    with pytest.raises(InputError) as caught:
        text_maker.fetch("bible", ["directory"], str(tmp_path / "none"), progress=lambda _: None)
    message = str(caught.value)
    assert "is not a directory" in message and "\n" not in message
    assert "install the Debian package bible-kjv-text" in message
    with pytest.raises(InputError, match="SET is Text"):
        catalogue.find("bible", type(toy.SET))


# Tokens


@FEW
@given(
    train=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30),
    test=st.lists(st.sampled_from("abcdefgh"), max_size=10),
)
def test_tokens_are_numbered_by_their_frequency(train, test):
    names, (first, second) = corpus.numbered(train, test)
    assert [names[i] for i in first] == train
    counts = [train.count(name) for name in names]
    assert counts == sorted(counts, reverse=True)
    for name, number in zip(test, second, strict=True):
        assert names[number] == (name if name in train else corpus.UNSEEN)
    assert (corpus.UNSEEN in names) == bool(set(test) - set(train))


# Grammars


def chain(seed=0, topics=2, states=3, vocabulary=4, keep=0.8):
    rng = np.random.default_rng(seed)
    return hidden_markov.drawn(topics, states, vocabulary, keep, 0.5, 1.3, rng), rng


def joint(grammar):
    """The chain of pairs of topic and state as one: its start, transitions and emissions."""
    topics, states, vocabulary = grammar.emissions.shape
    moves = grammar.keep * np.eye(topics) + (1 - grammar.keep) / topics
    transitions = np.kron(moves, grammar.transitions)
    return grammar.start.ravel(), transitions, grammar.emissions.reshape(-1, vocabulary)


@FEW
@given(seed=st.integers(0, 50), keep=st.floats(0, 1))
def test_the_start_is_stationary(seed, keep):
    start, transitions, emissions = joint(chain(seed, keep=keep)[0])
    np.testing.assert_allclose(start @ transitions, start, atol=1e-10)
    for rows in (transitions, emissions):
        np.testing.assert_allclose(rows.sum(1), 1)


@FEW
@given(seed=st.integers(0, 50), tokens=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_surprisal_is_that_of_the_sum_over_all_hidden_paths(seed, tokens):
    grammar, _ = chain(seed)
    start, transitions, emissions = joint(grammar)
    probability = 0.0
    for path in itertools.product(range(len(start)), repeat=len(tokens)):
        weight = start[path[0]] * np.prod(
            [emissions[s, x] for s, x in zip(path, tokens, strict=True)]
        )
        probability += weight * np.prod([transitions[pair] for pair in itertools.pairwise(path)])
    found = grammar.surprisal(np.array(tokens))
    assert found.sum() == pytest.approx(-np.log(probability), rel=1e-9)
    # What a token adds does not depend on those behind it.
    np.testing.assert_allclose(found[:-1], grammar.surprisal(np.array(tokens[:-1])))


def test_samples_have_the_law():
    grammar, rng = chain(3)
    start, transitions, emissions = joint(grammar)
    tokens = grammar.sample(200_000, rng)
    expected = np.einsum("s,sx,st,ty->xy", start, emissions, transitions, emissions)
    found = np.zeros((4, 4))
    np.add.at(found, (tokens[:-1], tokens[1:]), 1 / (len(tokens) - 1))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_no_other_law_is_less_surprised_in_the_mean():
    grammar, rng = chain(4)
    tokens = grammar.sample(20_000, rng)
    own = grammar.surprisal(tokens).mean()
    others = [chain(seed)[0] for seed in (5, 6)] + [replace(grammar, keep=0.2)]
    assert all(own < other.surprisal(tokens).mean() for other in others)
    shares = np.bincount(tokens) / len(tokens)
    assert own < -(shares * np.log(shares)).sum() < np.log(4)


def test_every_state_emits_by_zipfs_law():
    grammar, _ = chain(7, vocabulary=9)
    ranks = np.arange(1, 10) ** -1.3
    ordered = -np.sort(-grammar.emissions, -1)
    np.testing.assert_allclose(ordered, np.broadcast_to(ranks / ranks.sum(), ordered.shape))


def test_a_grammar_is_a_data_set_with_its_law(tmp_path, monkeypatch):
    small = replace(toy.SET, train_count=3000, test_count=500)
    monkeypatch.setattr(toy, "SET", small)
    run_stage(stage, tmp_path / "out.safetensors", name="grammar", kind="grammar")
    dataset = load(tmp_path / "out.safetensors")
    assert len(dataset.targets) == 3000 and len(dataset.test_surprisal) == 500
    counts = np.bincount(
        np.append(dataset.inputs.ravel()[:1], dataset.targets), minlength=len(dataset.outputs)
    )
    assert (np.diff(counts) <= 0).all() and len(dataset.outputs) == 96
    # Made again: the texts are the seed's, and the surprisal that of the test text.
    rng = np.random.default_rng(small.seed)
    grammar = hidden_markov.drawn(6, 12, 96, 1 - 1 / 48, 0.1, 2.0, rng)
    train, test = grammar.sample(3001, rng), grammar.sample(501, rng)
    names = [int(name[1:]) for name in dataset.outputs]
    assert [names[i] for i in dataset.targets] == train[1:].tolist()
    assert [names[i] for i in dataset.test_inputs.ravel()] == test[:-1].tolist()
    np.testing.assert_allclose(dataset.test_surprisal, grammar.surprisal(test)[1:])
    assert dataset.test_surprisal.mean() < np.log(96)
    other = grammar_maker.generate("grammar", replace(small, seed=1))
    assert not np.array_equal(other.arrays["train_labels"], dataset.targets)


def test_what_is_said_of_texts_beforehand_is_true():
    assert isinstance(bible.SET, Text) and bible.SET.held_out == 10
    assert not bible.SET.regression and not bible.SET.images
    for name in ("grammar", "grammar_512"):
        known = catalogue.find(name)
        assert not known.regression and not known.images and known.vocabulary > 2
