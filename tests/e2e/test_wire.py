"""A wire capture: 1,000 texts with planted values on a device, before a real edge process and a real cloud process.

What is on the wire, on both legs, is what the release's policy lets out and nothing else; audits are made of all.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e.planted import VALUES, Planted, leaks, planted
from tests.e2e.recorder import recorded
from tests.node_process import NodeProcess
from tests.tiny_release import make_release
from tianti.device import load
from tianti.privacy import RULES
from tianti.spec import Prediction, Reason, Tier
from tianti.spec.privacy import Handling, PrivacyPolicy

ROWS = planted(1000)
HELD, ALLOWED = {"phone", "id_card", "token"}, {"ip", "email"}
"""The other types are redacted."""
TYPES: dict[str, Handling] = {**dict.fromkeys(HELD, "local_only"), **dict.fromkeys(ALLOWED, "allow")}


class Capture(NamedTuple):
    wire: bytes
    answers: list[Prediction]
    egressed: list[dict[str, Any]]
    audited: int
    private: int


def capture(folder: Path, rows: list[Planted], policy: PrivacyPolicy | None) -> Capture:
    """Ask for all of them, and wait for audits."""
    release = make_release(folder, privacy=policy)
    with (
        NodeProcess(Tier.CLOUD, release.folder) as cloud,
        recorded(cloud.url) as upper,
        NodeProcess(Tier.EDGE, release.folder, upstreams=(upper.url,)) as edge,
        recorded(edge.url) as lower,
    ):
        path = folder / "egress.jsonl"
        with load(release.folder, upstream=lower.url, audits=1.0, deadline_ms=20_000.0, egress=path) as ladder:
            answers = [ladder.predict(row.text) for row in rows]
            until_s = time.monotonic() + 10.0
            while not ladder.status().audited and time.monotonic() < until_s:
                ladder.predict("lamp lamp")
                time.sleep(0.01)
            status = ladder.status()
        egressed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return Capture(lower.wire + upper.wire, answers, egressed, status.audited, status.private)


def test_nothing_is_on_the_wire_but_what_the_policy_allows(tmp_path: Path) -> None:
    got = capture(tmp_path, ROWS, PrivacyPolicy(rules=RULES, default="redact", types=TYPES, regions=("CN",)))
    found = set(leaks(ROWS, got.wire))
    assert Counter(row.kind for row in found if row.kind not in ALLOWED) == {}
    assert climbed(got, ALLOWED) <= found  # the control: what is allowed is seen
    assert got.audited > 0
    for row, answer in zip(ROWS, got.answers, strict=True):
        stays = row.kind in HELD and answer.decision.reason is not Reason.SCORE
        assert (answer.decision.reason is Reason.PRIVATE) == stays
        if not answer.decision.degraded:  # on a busy machine some find no room
            assert answer.decision.redactions == (answer.tier is not Tier.DEVICE and row.kind not in ALLOWED)
    assert got.private == sum(answer.decision.reason is Reason.PRIVATE for answer in got.answers) > 100
    purposes = Counter((line["purpose"], line["left"]) for line in got.egressed)
    above, degraded = len(climbed(got, set(VALUES))), sum(answer.decision.degraded for answer in got.answers)
    assert 300 < above <= purposes["answer", True] <= above + degraded
    assert purposes["answer", False] == got.private and purposes["audit", True] > 0
    said = json.dumps(got.egressed, ensure_ascii=False)
    assert leaks(ROWS, said.encode()) == [] and "谢谢" not in said


def test_control_of_a_release_that_says_nothing_all_that_climbed_is_on_the_wire(tmp_path: Path) -> None:
    rows = ROWS[:200]
    got = capture(tmp_path, rows, None)
    found = set(leaks(rows, got.wire))
    assert climbed(got, set(VALUES)) <= found
    assert {row.kind for row in found} == set(VALUES)
    assert got.private == 0


def climbed(got: Capture, kinds: set[str]) -> set[Planted]:
    """Rows of these types that were not answered on the device."""
    answered = zip(ROWS, got.answers, strict=False)
    return {row for row, answer in answered if row.kind in kinds and answer.tier is not Tier.DEVICE}
