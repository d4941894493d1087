"""A patch makes the new file from the old one, is small where it claims to be, and nothing that it holds does harm."""

import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tianti.errors import IntegrityError, MissingExtraError
from tianti.package import patch as patch_module
from tianti.package.packed import FRAME_BYTES, _zstd, pack, unpack
from tianti.package.patch import WORTH_IT, Codec, apply_patch, make_patch

ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
pytest.importorskip(ZSTD)

OLD = random.Random(1).randbytes(3000)
NUDGED = bytes((byte + (index % 4 == 0)) % 256 for index, byte in enumerate(OLD))
UNREAD_BIT = (4, 4)  # zstd tells its readers to ignore this one of the frame header
MOVED = OLD[:1000] + b"a new stretch" + OLD[1000:]


def _patch(old: bytes, new: bytes, codec: Codec) -> bytes:
    patch = make_patch(old, new)
    assert patch is not None and patch.codec == codec
    return patch.content


@st.composite
def _pairs(draw: Any) -> tuple[bytes, bytes]:
    old = draw(st.binary(max_size=300)) * draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["nudged", "moved", "other", "same"]))
    if kind == "nudged" and old:
        new = bytearray(old)
        for at in draw(st.lists(st.integers(0, len(old) - 1), max_size=5)):
            new[at] = (new[at] + draw(st.integers(0, 255))) % 256
        return old, bytes(new)
    if kind == "moved":
        at = draw(st.integers(0, len(old)))
        return old, old[:at] + draw(st.binary(max_size=20)) + old[at:]
    return old, old if kind == "same" else draw(st.binary(max_size=300))


@settings(max_examples=200, deadline=None)
@given(_pairs())
def test_a_patch_leads_to_the_new_file(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    if (patch := make_patch(old, new)) is not None:
        assert apply_patch(patch.codec, old, patch.content, len(new)) == new
        assert len(patch.content) <= WORTH_IT * len(pack(new))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500), st.binary(max_size=500))
def test_what_is_packed_comes_back(content: bytes, prefix: bytes) -> None:
    assert b"".join(unpack(pack(content, prefix), len(content), prefix)) == content


def test_each_codec_is_chosen_for_what_it_is_good_at() -> None:
    assert len(_patch(OLD, NUDGED, "sub")) < len(pack(NUDGED, prefix=OLD))
    assert len(_patch(OLD, MOVED, "pfx")) < 60


def test_a_file_without_anything_in_common_gets_no_patch() -> None:
    assert make_patch(OLD, random.Random(2).randbytes(3000)) is None


def test_files_of_several_frames_reach_back_over_all_of_the_old_one() -> None:
    old = random.Random(3).randbytes(FRAME_BYTES + 500_000)
    new = b"first" + old[5000:] + old[:5000]
    patch = _patch(old, new, "pfx")
    assert len(patch) < 3000
    assert apply_patch("pfx", old, patch, len(new)) == new
    nudged = (np.frombuffer(old, np.uint8) + np.uint8(1)).tobytes()
    assert apply_patch("sub", old, _patch(old, nudged, "sub"), len(old)) == nudged


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, ZSTD, None)
    with pytest.raises(MissingExtraError, match=r"tianti\[update\]"):
        make_patch(OLD, NUDGED)


def test_what_is_packed_without_prefix_is_plain_zstd() -> None:
    content = bytes(FRAME_BYTES + 10)
    assert _zstd().decompress(pack(content)) == content


@pytest.mark.parametrize(("new", "codec"), [(NUDGED, "sub"), (MOVED, "pfx")])
def test_a_flipped_bit_is_refused_or_seen_by_the_hash(new: bytes, codec: Codec) -> None:
    patch = _patch(OLD, new, codec)
    unseen = []
    for flipped, where in _flips(patch):
        try:
            if apply_patch(codec, OLD, flipped, len(new)) == new:
                unseen.append(where)
        except IntegrityError:
            pass
    assert unseen == [UNREAD_BIT]


def _flips(patch: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    for index in range(len(patch)):
        for bit in range(8):
            yield patch[:index] + bytes([patch[index] ^ 1 << bit]) + patch[index + 1 :], (index, bit)


@pytest.mark.parametrize(("new", "codec"), [(NUDGED, "sub"), (MOVED, "pfx")])
def test_a_patch_that_is_cut_or_too_long_is_refused(new: bytes, codec: Codec) -> None:
    patch = _patch(OLD, new, codec)
    for cut in (*(patch[:end] for end in range(len(patch))), patch + b"\0", patch + patch):
        with pytest.raises(IntegrityError, match="fetch the file whole"):
            apply_patch(codec, OLD, cut, len(new))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["sub", "pfx", "xor"]), st.binary(max_size=50), st.integers(0, 100), st.booleans())
def test_garbage_is_refused(codec: str, garbage: bytes, size: int, framed: bool) -> None:
    magic = b"\x28\xb5\x2f\xfd" if framed else b""
    with suppress(IntegrityError):
        assert len(apply_patch(codec, OLD, magic + garbage, size)) == size


def test_a_patch_for_another_size_or_another_old_file_is_refused_or_differs() -> None:
    patch = _patch(OLD, MOVED, "pfx")
    for size in (0, len(MOVED) - 1, len(MOVED) + 1, 10**15):
        with pytest.raises(IntegrityError):
            apply_patch("pfx", OLD, patch, size)
    with pytest.raises(IntegrityError, match="old file"):
        apply_patch("sub", OLD[1:], _patch(OLD, NUDGED, "sub"), len(OLD))
    with suppress(IntegrityError):
        assert apply_patch("pfx", OLD[::-1], patch, len(MOVED)) != MOVED


def _bombs() -> dict[str, bytes]:
    zstd = _zstd()
    parameter = zstd.CompressionParameter
    zeros = bytes(1 << 26)
    unsaid = {parameter.content_size_flag: 0}
    wide = {parameter.content_size_flag: 0, parameter.window_log: 26}
    lying = bytearray(zstd.compress(zeros[: FRAME_BYTES * 2]))
    lying[5:9] = FRAME_BYTES.to_bytes(4, "little")
    return {
        "says it": zstd.compress(zeros),
        "says nothing": zstd.compress(zeros, options=unsaid),
        "wants a wide window": zstd.compress(zeros, options=wide),
        "lies": bytes(lying),
        "many frames": pack(zeros),
    }


@pytest.mark.parametrize("codec", ["sub", "pfx"])
def test_bombs_are_refused(codec: str) -> None:
    old = bytes(FRAME_BYTES)
    for bomb in _bombs().values():
        assert len(bomb) < 10_000
        with pytest.raises(IntegrityError):
            apply_patch(codec, old, bomb, len(old))


_MEASURE = """
    import re, sys
    from pathlib import Path
    from tianti.errors import IntegrityError
    from tianti.package.packed import _zstd, pack
    from tianti.package.patch import apply_patch

    def peak() -> int:
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

    content = Path(sys.argv[2]).read_bytes()
    size, patch = int(sys.argv[3]), Path(sys.argv[4]).read_bytes()
    apply_patch("sub", b"", b"", 0)
    _zstd()
    before = peak()
    try:
        _zstd().decompress(patch) if sys.argv[1] == "plain" else apply_patch(sys.argv[1], content, patch, size)
    except IntegrityError:
        assert sys.argv[5] == "refused"
    else:
        assert sys.argv[5] == "applied"
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_within_old_and_new_and_10_mb(tmp_path: Path) -> None:
    old = random.Random(4).randbytes(9_000_000)
    new = (np.frombuffer(old, np.uint8) + np.uint8(1)).tobytes()
    bombs = _bombs()
    cases: list[tuple[str, bytes, int, str]] = [
        ("sub", _patch(old, new, "sub"), len(new), "applied"),
        ("pfx", _patch(old, b"first" + old, "pfx"), len(old) + 5, "applied"),
        ("sub", bombs["says nothing"], len(old), "refused"),
        ("pfx", bombs["wants a wide window"], len(old), "refused"),
        ("pfx", bombs["many frames"], len(old), "refused"),
    ]
    (tmp_path / "old").write_bytes(old)
    for codec, patch, size, end in cases:
        assert _taken(tmp_path, codec, patch, size, end) < len(old) + size + 10_000_000
    control = _taken(tmp_path, "plain", bombs["says nothing"], len(old), "applied")
    assert control > 2 * len(old) + 10_000_000


def _taken(folder: Path, codec: str, patch: bytes, size: int, end: str) -> int:
    """Bytes by which a process grew that holds the old file and applies a patch."""
    (folder / "patch").write_bytes(patch)
    argv = [sys.executable, "-c", textwrap.dedent(_MEASURE), codec, folder / "old", str(size), folder / "patch", end]
    return int(subprocess.run(argv, check=True, capture_output=True).stdout)


def test_a_large_file_is_only_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    longer = OLD + b"one more"
    assert make_patch(OLD, longer) is not None
    monkeypatch.setattr(patch_module, "LARGEST_PREFIX", len(OLD) - 1)
    assert make_patch(OLD, longer) is None
    made = make_patch(OLD, NUDGED)
    assert made is not None
    assert made.codec == "sub"
