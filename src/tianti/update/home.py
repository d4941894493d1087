"""A device's folder for updates: who it is, where its releases come from, what it holds.

    device.json  device.key  root.json         made once, when the device is enrolled or set up
    ca.pem                                     who signs the repository's certificate, where the world does not
    totals.json                                what is counted for reports; may be lost
    state.0.json  state.1.json  lock           the one commit point (`state`), and who may write
    releases/<id>/                             a release's folder, with the shipment.json that it came by
    tuf/                                       what was fetched of signed metadata; may be lost

Not here: changes of the state (`machine`). Invariant: what device.json says was checked when it was read.
"""

from pathlib import Path

import msgspec

from tianti.errors import UsageError
from tianti.package.manifest import Name
from tianti.runtimes.trust import Trust
from tianti.spec import Tier
from tianti.store import canonical_json, write_atomic

SCHEMA = "tianti.device/1"


class Home(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of device.json.

    `repository` is a URL or a folder; `reports` the URL that takes reports, None: nobody does. `tags` and `region` are
    what rings ask about.
    """

    schema: str = SCHEMA
    device: str
    product: Name
    channel: Name
    repository: str
    reports: str | None = None
    tier: Tier = Tier.DEVICE
    tags: tuple[str, ...] = ()
    region: str = ""


def make_home(folder: Path, home: Home, root: bytes) -> None:
    """Set a device up; `root` is the TUF root metadata that it trusts from now on.

    Raises:
        UsageError: the folder is a device's already.
        StoreError: it cannot be written.
    """
    if (folder / "device.json").exists():
        raise UsageError(f"{folder}: expected a new folder, got a device's; choose another one, or go on with this")
    write_atomic(folder / "root.json", root)
    write_atomic(folder / "device.json", canonical_json(home))


def read_home(folder: Path) -> Home:
    """Who the device of this folder is.

    Raises:
        UsageError: it is not a device's folder, or of another schema.
    """
    path = folder / "device.json"
    try:
        home = msgspec.json.decode(path.read_bytes(), type=Home)
    except OSError:
        raise UsageError(f"{folder}: expected a device's folder, got one without device.json; enroll it") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: expected {SCHEMA}, got: {error}; enroll the device again") from error
    if home.schema != SCHEMA:
        raise UsageError(f"{path}: expected {SCHEMA}, got {home.schema!r}; update tianti")
    return home


def read_root(folder: Path) -> bytes:
    """The TUF root metadata that the device of this folder trusts from the start.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return (folder / "root.json").read_bytes()
    except OSError as error:
        raise UsageError(f"{folder}: expected root.json, got: {error.strerror}; enroll the device again") from error


def trust_of(folder: Path) -> Trust:
    """How the device of this folder knows its repository, and who takes its reports."""
    authority = folder / "ca.pem"
    return Trust(ca=authority if authority.is_file() else None)


def release_folder(folder: Path, release: str) -> Path:
    """Where a release is installed."""
    return folder / "releases" / release
