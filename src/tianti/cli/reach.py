"""How many devices a rollout's steps reach, for a person who starts it.

Not here: who is in a ring (`package.rollout`), the ledger (`fleet`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tianti.spec import Tier

if TYPE_CHECKING:
    from tianti.fleet import Step
    from tianti.package import Match

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MILLION = 1_000_000
_RARE = 0.01


def places_of(db: Path, line: tuple[str, str], match: "Match", release: str) -> list[int]:
    """Where the devices that a hub knows, and a ring is for, stand in the rollout of a release, in ppm.

    Raises:
        UsageError: there are none.
    """
    from tianti.errors import UsageError
    from tianti.fleet import SqliteLedger
    from tianti.package import bucket
    from tianti.release import salt_of

    ledger = SqliteLedger(db)
    meant = [
        device.id
        for device, _ in ledger.everybody()
        if (device.line, device.tier, device.revoked_s) == (line, Tier.DEVICE, None)
        and set(match.tags) <= set(device.tags)
        and (not match.regions or device.region in match.regions)
    ]
    ledger.close()
    if not meant:
        raise UsageError(f"{db}: expected devices of {' '.join(line)} that the rollout is for, got none; enroll some")
    return [bucket(salt_of(release), device) * _MILLION >> 64 for device in meant]


def reached(steps: "Sequence[Step]", enrolled: int | None, places: Sequence[int]) -> Iterator[str]:
    """What a person should know of the steps, where they may not reach whom they seem to."""
    if places:
        counts = ", ".join(str(sum(place < step.ppm for place in places)) for step in steps)
        yield f"of {len(places)} devices that are enrolled, the steps reach {counts}"
    elif enrolled is not None:
        for step in steps:
            none = (1 - step.ppm / _MILLION) ** enrolled
            if none > _RARE:
                about = f"{step.ppm / _MILLION * enrolled:.2g} of {enrolled} devices"
                yield f"a step of {about} is drawn by their names: none with a chance of {none:.1%}; --db counts"
