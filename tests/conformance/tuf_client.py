"""Our TUF client under the command line that the public conformance suite calls (its CLIENT-CLI.md).

The part of a device that knows product and channel is not in it: the suite's repositories have neither.
"""

import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from urllib.parse import quote

import msgspec
from tuf.api.exceptions import LengthOrHashMismatchError

from tianti.errors import UpdateError
from tianti.update.disk import Disk, put
from tianti.update.source import HttpSource
from tianti.update.verified import Known, Verified


def verified(said: Namespace) -> Verified:
    """One refresh; what is known outlasts it, as a device's state does."""
    folder: Path = said.metadata_dir
    memory = folder / "known"
    known = msgspec.json.decode(memory.read_bytes(), type=Known) if memory.exists() else Known()
    source = HttpSource(said.metadata_url.rstrip("/").removesuffix("/metadata"))
    try:
        found = Verified(folder, (folder / "root.json").read_bytes(), source, known, int(time.time()))
    finally:
        roots = (folder / "root_history").glob("*.root.json")
        newest = max(roots, key=lambda path: int(path.name.partition(".")[0]), default=folder / "root.json")
        put(Disk(), folder / "root.json", newest.read_bytes())
    put(Disk(), memory, msgspec.json.encode(found.known))
    return found


def download(said: Namespace) -> None:
    metadata = verified(said)
    for name in said.target_name:
        if (target := metadata.target(name)) is None:
            raise UpdateError(f"expected {name}, got a repository that does not have it")
        path = said.target_dir / quote(name, "")
        try:
            target.verify_length_and_hashes(path.read_bytes())
        except (OSError, LengthOrHashMismatchError):
            put(Disk(), path, metadata.content(target))


def main() -> int:
    parser = ArgumentParser()
    for name in ("--metadata-dir", "--target-dir"):
        parser.add_argument(name, type=Path)
    for name in ("--metadata-url", "--target-base-url"):
        parser.add_argument(name)
    parser.add_argument("--target-name", action="append")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    said = parser.parse_args()
    try:
        if said.command == "init":
            shutil.copyfile(said.trusted_root, said.metadata_dir / "root.json")
        else:
            (verified if said.command == "refresh" else download)(said)
    except UpdateError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
