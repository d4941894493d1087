"""A shipment names every file of a release, and nothing that could become a path elsewhere."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.tiny_release import make_release
from tianti.errors import PackageError
from tianti.package import Shipment, decode_shipment, ship
from tianti.store import canonical_json, sha256_file

PLACE = Path("shipment.json")


@pytest.fixture(scope="module")
def shipment(tmp_path_factory: pytest.TempPathFactory) -> Shipment:
    return ship(make_release(tmp_path_factory.mktemp("release")), counter=3, min_runtime="0.1.0")


def test_it_names_every_file_and_survives_its_bytes(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    made = ship(release, counter=3, min_runtime="0.1.0")
    on_disk = {
        path.relative_to(release.folder).as_posix(): path for path in release.folder.rglob("*") if path.is_file()
    }
    assert {name: (file.sha256, file.size_bytes) for name, file in made.files.items()} == {
        name: (sha256_file(path), path.stat().st_size) for name, path in on_disk.items()
    }
    assert {name.split("/")[1] for name, file in made.files.items() if file.tier} == set(release.record.packages)
    assert decode_shipment(canonical_json(made), PLACE) == made


def changed(shipment: Shipment, **fields: Any) -> bytes:
    return canonical_json({**msgspec.to_builtins(shipment), **fields})


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "a\\x", "./x", "a//x", "", "a\nb"])
def test_a_path_elsewhere_is_refused(shipment: Shipment, name: str) -> None:
    files = msgspec.to_builtins(shipment.files)
    with pytest.raises(PackageError, match="not a path below the release"):
        decode_shipment(changed(shipment, files={**files, name: files["release.json"]}), PLACE)


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": "tianti.shipment/2"},
        {"unknown": 1},
        {"counter": -1},
        {"product": "../x"},
        {"release": "ab"},
        {"release": "0" * 64},
        {"files": {}},
        {"patches": {"../../x": []}},
        {"patches": {"0" * 64: [{"old": "0" * 64, "codec": "../x", "sha256": "0" * 64, "size_bytes": 1}]}},
        {"compressed": {"0" * 64: {"size_bytes": -1}}},
    ],
)
def test_what_cannot_be_is_refused(shipment: Shipment, fields: dict[str, Any]) -> None:
    with pytest.raises(PackageError):
        decode_shipment(changed(shipment, **fields), PLACE)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(PackageError, match="malformed"):
        decode_shipment(content, PLACE)
