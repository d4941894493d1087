"""Three releases of a few bytes that come in every way there is, and the update from the second to the third.

Not models: what an install must keep does not depend on what the bytes mean.
"""

from pathlib import Path

import msgspec

from tests.update.crashes import Recorder
from tests.update.offered import Blobs
from tianti.package import Shipment
from tianti.package.packed import pack
from tianti.package.shipment import Compressed, ShippedFile, ShippedPatch
from tianti.spec import Tier
from tianti.store import sha256_bytes, sha256_file
from tianti.update.disk import Disk
from tianti.update.home import release_folder
from tianti.update.install import collect, install, installed
from tianti.update.state import StateFile, UpdateState

PACKED, PATCHED = "packages/device/config.json", "packages/device/onnx/model.onnx"
CONTENTS: tuple[dict[str, bytes], ...] = (
    {"release.json": b"the first", "packages/device/config.json": b"{}"},
    {"release.json": b"the second", "packages/device/tokenizer.json": b"words", PATCHED: bytes(range(40))},
    {
        "release.json": b"the third",  # fetched as it is
        "packages/device/tokenizer.json": b"words",  # copied
        PACKED: b"configured" * 20,  # fetched packed
        PATCHED: bytes(range(2, 42)),
        "packages/edge/onnx/model.onnx": b"not for a device",
    },
)


def _shipment(counter: int) -> Shipment:
    files = {
        name: ShippedFile(sha256_bytes(content), len(content), Tier(name.split("/")[1]) if "/" in name else None)
        for name, content in CONTENTS[counter].items()
    }
    release = files["release.json"].sha256
    return Shipment(product="small", release=release, counter=counter, files=files, min_runtime="0.1.0")


def _third() -> tuple[Shipment, dict[str, bytes]]:
    shipment, contents = _shipment(2), dict(CONTENTS[2])
    packed, patch = pack(contents[PACKED]), pack(bytes([2]) * 40)
    new, old = shipment.files[PATCHED].sha256, sha256_bytes(CONTENTS[1][PATCHED])
    offered = msgspec.structs.replace(
        shipment,
        compressed={shipment.files[PACKED].sha256: Compressed(len(packed))},
        patches={new: (ShippedPatch(old, "sub", sha256_bytes(patch), len(patch)),)},
    )
    contents[PACKED] = packed
    return offered, {f"blobs/patch/{new}/{old}.sub": patch, **_blobs(shipment, contents)}


def _blobs(shipment: Shipment, contents: dict[str, bytes]) -> dict[str, bytes]:
    places = {name: file.sha256 for name, file in shipment.files.items()}
    return {f"blobs/{places[name][:2]}/{places[name]}": content for name, content in contents.items()}


THIRD, THIRD_FILES = _third()
FIRST, SECOND = _shipment(0), _shipment(1)


def begin(folder: Path) -> UpdateState:
    """Make a device that runs the second release and can go back to the first."""
    for shipment, contents in zip((FIRST, SECOND), CONTENTS, strict=False):
        install(folder, shipment, Blobs(_blobs(shipment, contents)), tier=Tier.DEVICE, have=(), disk=Recorder())
    state = UpdateState(active=SECOND.release, last_good=FIRST.release, floors={"timestamp": 3}, counter=1)
    store = StateFile(folder, Recorder())
    return store.save(store.save(state))


def update(folder: Path, disk: Disk | None = None) -> None:
    """Install the third release, make it the active one, remove the first; goes on where it was cut off."""
    disk = disk or Recorder()
    store = StateFile(folder, disk)
    if (state := store.load()).active != THIRD.release:
        have = [release_folder(folder, SECOND.release)]
        install(folder, THIRD, Blobs(THIRD_FILES), tier=Tier.DEVICE, have=have, disk=disk)
        store.save(named(state))
    collect(folder, {THIRD.release, SECOND.release}, disk)


def named(state: UpdateState) -> UpdateState:
    """The state that names the third release."""
    active, last_good = THIRD.release, SECOND.release
    return msgspec.structs.replace(state, active=active, last_good=last_good, floors={"timestamp": 4}, counter=2)


def wrong(folder: Path, finished: bool) -> str | None:
    """What is wrong with a device that was cut off during `update`; `finished`: after it."""
    state = StateFile(folder).load()
    if state.floors.get("timestamp", 0) < 3 or state.counter < 1:
        return f"floors lowered to {state.floors}, {state.counter}"
    if (state.active == THIRD.release) != (state.seq == 3) or (finished and state.active != THIRD.release):
        return f"save {state.seq} names {state.active}"
    known = {shipment.release: shipment for shipment in (FIRST, SECOND, THIRD)}
    for release in (state.active, state.last_good):
        assert release is not None
        if (lacking := _lacking(folder, known[release])) is not None:
            return f"not servable: {lacking}"
    for release, shipment in known.items():
        if installed(folder, release) is not None and (lacking := _lacking(folder, shipment)) is not None:
            return f"looks complete: {lacking}"
    return None


def _lacking(folder: Path, shipment: Shipment) -> str | None:
    below = release_folder(folder, shipment.release)
    if installed(folder, shipment.release) is None:
        return "shipment.json"
    for name, file in shipment.files.items():
        if file.tier in (None, Tier.DEVICE) and not (
            (below / name).is_file() and sha256_file(below / name) == file.sha256
        ):
            return name
    return None
