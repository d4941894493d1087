"""Give every row its role: by hash, stratified by label.

A role that has no source of its own is taken from train: within each label, the texts whose hash with the seed is
smallest. So the order of a file does not matter, and a row that is added moves hardly any other.

Not here: what is wrong with rows (`clean`). Invariant: a text, whatever its labels, has exactly one role.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tianti.data.rows import Row, by_text, text_key
from tianti.errors import DataError
from tianti.spec import Role, units

_SHARE = re.compile(r"\s*[0-9.]+\s*%\s*")
_TAKEN_FIRST = ("test", "calibration", "validation")
_MIN_CALIBRATION_ROWS = 3


def share_of_train(value: str | int, key: str) -> float | int | None:
    """What `data.<key>` takes from train: a share in [0, 1], or a number of rows; None where it names a source."""
    if isinstance(value, int):
        return value
    return units.share(value.strip(), key) if _SHARE.fullmatch(value) else None


def assign_roles(tables: Mapping[str, list[Row]], takes: Mapping[str, float | int], seed: int) -> dict[Role, list[Row]]:
    """The rows of each role, in the order of their source.

    Args:
        tables: cleaned rows of `train` and of each other key that names a source.
        takes: what the other keys take from train.
        seed: another seed draws other rows.

    Raises:
        DataError: a key takes nothing or more than there is; there are fewer than 3 calibration rows.
    """
    left, parts = tables["train"], dict(tables)
    for name in (name for name in _TAKEN_FIRST if name in takes):
        count = _count(takes[name], len(tables["train"]), len(left), name)
        parts[name], left = _take(left, count, f"{seed} {name}")
    calibration = parts["calibration"]
    if len(calibration) < _MIN_CALIBRATION_ROWS:
        raise DataError(
            f"data.calibration: expected at least {_MIN_CALIBRATION_ROWS} rows, got {len(calibration)}; "
            "add rows: a certificate at 1% takes hundreds"
        )
    tuning, certify = _take(calibration, len(calibration) // 3, f"{seed} tuning")
    return {
        Role.TRAIN: left,
        Role.VALIDATION: parts["validation"],
        Role.TUNING: tuning,
        Role.CERTIFY: certify,
        Role.TEST: parts["test"],
    }


def check_apart(roles: Mapping[Role, list[Row]], unlabelled: Iterable[str]) -> None:
    """The leak test.

    Raises:
        DataError: a text is in two roles, or in a role and among the unlabelled.
    """
    owner: dict[str, Role] = {}
    for role, rows in roles.items():
        for row in rows:
            found = owner.setdefault(text_key(row.text), role)
            if found != role:
                got = f"got one ({text_key(row.text)[:12]}…) in {found} and {role}"
                raise DataError(f"expected every text in one role, {got}; a stage must keep the roles apart")
    if leaked := next((key for key in map(text_key, unlabelled) if key in owner), None):
        got = f"got one ({leaked[:12]}…) in {owner[leaked]} too"
        raise DataError(f"expected unlabelled texts in no role, {got}; a stage must keep them apart")


def _count(take: float | int, of: int, left: int, name: str) -> int:
    count = round(take * of) if isinstance(take, float) else take
    if not 0 < count < left:
        asked = f"{take:.4g} of train" if isinstance(take, float) else f"{take} rows"
        cure = "lower it, add train rows, or name a file of its own"
        raise DataError(f"data.{name}: expected between 1 and {left - 1} rows to take, got {count} ({asked}); {cure}")
    return count


def _take(rows: list[Row], count: int, salt: str) -> tuple[list[Row], list[Row]]:
    """Take `count` texts, as evenly over the labels as whole numbers allow; returns the taken rows and the rest."""
    texts = by_text(rows)
    strata: dict[str, list[str]] = defaultdict(list)
    for key, alike in texts.items():
        strata[min(row.label for row in alike)].append(key)
    quotas = _quotas({label: len(keys) for label, keys in strata.items()}, count, salt)
    taken = {
        key for label, keys in strata.items() for key in sorted(keys, key=lambda key: _rank(salt, key))[: quotas[label]]
    }
    parts: tuple[list[Row], list[Row]] = ([], [])
    for key, alike in texts.items():
        parts[key not in taken].extend(alike)
    return parts


def _quotas(sizes: Mapping[str, int], count: int, salt: str) -> dict[str, int]:
    """`count` shared out in proportion to the sizes, by largest remainder; the hash breaks ties."""
    total = sum(sizes.values())
    quotas = {label: count * size // total for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (-(count * sizes[label] % total), _rank(salt, label)))
    for label in by_remainder[: count - sum(quotas.values())]:
        quotas[label] += 1
    return quotas


def _rank(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt} {name}".encode()).digest()
