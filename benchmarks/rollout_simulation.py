"""Rollouts of bad and good releases in virtual time, over fleets of 300, 20,000 and a million devices.

    python -m benchmarks.rollout_simulation [HEALTHY]

A bad release is well signed and passes its self-test; it fails its trial on a share of the devices, and the others go
on with it. `HEALTHY` is how many rollouts of a good one, which fails on 0.5 % of the devices, are made (2000).
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from rich.table import Table
from tests.fleet.simulation import MILLION, Ended, halt, places_of, roll_out

from benchmarks.real_data import console
from tianti.fleet import parse_steps

STEPS = {
    300: parse_steps(["5 devices", "5%", "25%", "100%"], enrolled=300),
    20_000: parse_steps(["10%", "25%", "50%", "100%"]),
    MILLION: parse_steps(["0.2%", "5%", "25%", "100%"]),
}
SOURCES = {300: 16, 20_000: 50, MILLION: 1_000}
HEALTHY = 0.005
SEEDS = range(20)


def main() -> None:
    places = {devices: places_of(devices) for devices in STEPS}
    fleets = {
        devices: partial(roll_out, places[devices], steps=STEPS[devices], sources=SOURCES[devices], watched=100)
        for devices in STEPS
    }
    show_bad(fleets)
    show_good("a million devices", fleets[MILLION], range(3))
    show_good("20,000 devices", fleets[20_000], range(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
    by_hand = [fleets[300](failing=0.0, seed=seed, operator=lambda now_s: True) for seed in SEEDS]
    hours = max(ended.at_s for ended in by_hand) / 3600
    done = sum(ended.how == "done" for ended in by_hand)
    console.print(f"300 devices, an operator promotes each step: {done} of {len(by_hand)} done, at most {hours:.1f} h")


def show_bad(fleets: dict[int, Callable[..., Ended]]) -> None:
    table = Table(title=f"a bad release, {len(SEEDS)} rollouts a row; the worst of them, minutes since its publishing")
    columns = (
        "devices",
        "fails on",
        "on a halt",
        "halted",
        "steps",
        "first ring",
        "exposed",
        "halted, min",
        "back, min",
    )
    for column in (*columns, "left on it"):
        table.add_column(column, justify="right")
    for devices, failing in ((300, 1.0), (300, 0.6), (MILLION, 0.02), (MILLION, 0.05), (MILLION, 0.5), (MILLION, 1.0)):
        ends = [fleets[devices](failing=failing, seed=seed, hours=12) for seed in SEEDS]
        table.add_row(f"{devices:,}", f"{failing:.0%}", "taken back", *worst(ends))
    control = [fleets[MILLION](failing=0.5, seed=seed, hours=2, stop=halt) for seed in SEEDS]
    table.add_row(f"{MILLION:,}", "50%", "halt alone", *worst(control))
    console.print(table)


def worst(ends: Sequence[Ended]) -> list[str]:
    halted = [ended for ended in ends if ended.how == "halted"]
    back = [ended.whole_s - ended.at_s for ended in halted if not ended.left]
    return [
        f"{len(halted)} of {len(ends)}",
        str(max(ended.step for ended in ends) + 1),
        f"{ends[0].ring:,}",
        f"{max(ended.exposed for ended in ends):,}",
        f"{max((ended.at_s for ended in halted), default=np.nan) / 60:.0f}",
        f"{max(back, default=np.nan) / 60:.0f}",
        str(max(ended.left for ended in ends)),
    ]


def show_good(name: str, roll: Callable[..., Ended], seeds: range) -> None:
    begun = time.perf_counter()
    ends = [roll(failing=HEALTHY, seed=seed) for seed in seeds]
    count = {how: sum(ended.how == how for ended in ends) for how in ("done", "halted", "hold")}
    hours = np.median([ended.at_s for ended in ends if ended.how == "done"]) / 3600
    console.print(
        f"a good release, {name}, {len(ends)} rollouts: {count['done']} done (median {hours:.1f} h), {count['halted']}"
        f" halted, {count['hold']} held; {time.perf_counter() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
