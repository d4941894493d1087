"""The options that the commands of this package share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real_data import WORK
from benchmarks.serving.models import NAMES
from benchmarks.serving.servers import SERVERS, Server


def parser_of(command: str, models: Sequence[str], only: Sequence[str], seconds: float) -> argparse.ArgumentParser:
    """A parser with what all of them take."""
    parser = argparse.ArgumentParser(f"python -m {command}")
    parser.add_argument("--peers", type=Path, default=WORK / "serving" / "peers", help="a folder of environments")
    names = tuple(dict.fromkeys([*NAMES, *models]))
    parser.add_argument("--models", type=_names(names), default=models, help=f"of {', '.join(names)}")
    known = tuple(dict.fromkeys(server.name for server in SERVERS))
    parser.add_argument("--only", type=_names(known), default=only, help=f"of {', '.join(known)}")
    parser.add_argument("--seconds", type=float, default=seconds, help="for each round of each figure")
    parser.add_argument("--smoke", action="store_true", help="tenths of a second and the small model: does it run?")
    return parser


def _names(known: Sequence[str]):  # noqa: ANN202
    def read(given: str) -> list[str]:
        names = given.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {', '.join(sorted(unknown))}")
        return names

    return read


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[Server]]:
    """The options, and the servers that they name."""
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.models = 0.2, NAMES[:1]
    return options, [server for server in SERVERS if server.name in options.only]
