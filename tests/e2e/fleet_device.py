"""A program with a ladder in it, as a device of a fleet runs one: asks texts until it is told to stop.

    python -m tests.e2e.fleet_device HOME UPSTREAM ANSWERS SEED

Each answer is a line of JSON in the file ANSWERS, which is appended to, so that a killed one goes on in it.
"""

import json
import random
import signal
import sys
import threading
import time
from pathlib import Path

from tests.tiny_release import WORDS
from tianti import load
from tianti.errors import TiantiError

_EVERY_S = 0.25
_DECK = (0, 0, 0, 0, 0, 0, 1, 1, 2, 2)  # words that the device knows, that the edge knows, that the cloud alone knows


def run(home: str, upstream: str, answers: str, seed: int) -> None:
    chance, stopped = random.Random(seed), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    rows, deck = list(WORDS.items()), list[int]()
    file = Path(answers).open("a", encoding="utf-8")  # noqa: SIM115
    with file, load(home, upstream=upstream, deadline_ms=5_000, audits=0.1) as ladder:
        while not stopped.wait(chance.uniform(0.5, 1.5) * _EVERY_S):
            if not deck:  # dealt out, and not drawn, so that tiers' shares vary little
                deck = chance.sample(_DECK, len(_DECK))
            label, words = chance.choice(rows)
            told: dict[str, object] = {"at": time.time(), "expected": label}
            try:
                answer = ladder.predict(words[deck.pop()])
                decision = answer.decision
                told |= {
                    "label": answer.label,
                    "tier": str(answer.tier),
                    "certified": decision.certified,
                    "degraded": decision.degraded,
                    "reason": str(decision.reason),
                    "package": answer.package,
                }
            except TiantiError as error:
                told["error"] = repr(error)
            file.write(json.dumps(told) + "\n")
            file.flush()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
