"""What leaves a device, on real models and real nodes: nothing of what is answered here, placeholders, or nothing."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tiny_release import make_release
from tianti.cli.main import tianti_command
from tianti.device import Ladder, load
from tianti.errors import PrivacyError
from tianti.package import Release
from tianti.privacy import RULES
from tianti.router import Upstream
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Request, Tier
from tianti.spec.privacy import BoundDetector, PrivacyPolicy

PHONE, MAIL = "13800138000", "wang@example.com"
TEXTS = [f"lamp lamp lamp {PHONE}", f"tune {MAIL} {MAIL}", f"sonata {PHONE}"]
"""Answered here, passed up with placeholders, and held."""
POLICY = PrivacyPolicy(rules=RULES, default="redact", types={"phone": "local_only"}, regions=("CN",))


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("private"), privacy=POLICY)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What any upstream was asked."""
    asked: list[Request] = []
    ask = Upstream.ask

    async def kept(self: Upstream, request: Request, remaining_s: float) -> Any:
        asked.append(request)
        return await ask(self, request, remaining_s)

    monkeypatch.setattr(Upstream, "ask", kept)
    return asked


CALLS: list[Callable[[Ladder, Sequence[str]], list[Prediction]]] = [
    lambda ladder, texts: [ladder.predict(text) for text in texts],
    Ladder.predict_many,
    lambda ladder, texts: asyncio.run(ladder.apredict_many(texts)),
]


@pytest.mark.parametrize("tracing", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_every_way_to_ask_goes_through_the_door(
    private: Release,
    sent: list[Request],
    tmp_path: Path,
    call: Callable[[Ladder, Sequence[str]], list[Prediction]],
    tracing: bool,
) -> None:
    path = tmp_path / "egress.jsonl"
    with (
        local_node(Tier.CLOUD, private.folder) as cloud,
        load(private.folder, upstream=cloud, audits=0.0, egress=path, tracing=tracing, deadline_ms=5000.0) as ladder,
    ):
        answers, status = call(ladder, TEXTS), ladder.status()
    assert [request.text for request in sent] == ["tune ⟦EMAIL_1⟧ ⟦EMAIL_1⟧"]
    assert [(answer.tier, answer.decision.reason) for answer in answers] == [
        (Tier.DEVICE, Reason.SCORE),
        (Tier.CLOUD, Reason.TOP),
        (Tier.DEVICE, Reason.PRIVATE),
    ]
    assert [answer.decision.redactions for answer in answers] == [0, 2, 0]
    assert [answer.decision.certified for answer in answers] == [True, True, False]
    assert (status.private, status.degraded) == (1, 0)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted((line["left"], line["found"].popitem()) for line in lines) == [
        (False, ("phone", 1)),
        (True, ("email", 2)),
    ]


def test_the_text_of_an_answer_in_vain_left_too(private: Release, nowhere: str) -> None:
    with load(private.folder, upstream=nowhere, audits=0.0) as ladder:
        held, vain = ladder.predict(TEXTS[2]), ladder.predict(TEXTS[1])
    assert (held.decision.reason, held.decision.degraded) == (Reason.PRIVATE, False)
    assert (vain.decision.reason, vain.decision.redactions) == (Reason.UPSTREAM_DOWN, 2)


def test_a_detector_that_is_not_here_is_said_at_load(tmp_path: Path, nowhere: str) -> None:
    """A ladder that leads nowhere needs none."""
    own = BoundDetector(use="no_such_module:find", types=("order",), sha256="0" * 64)
    policy = PrivacyPolicy(rules=RULES, default="redact", types={}, regions=(), own=(own,))
    release = make_release(tmp_path, privacy=policy)
    with pytest.raises(PrivacyError, match="no_such_module"):
        load(release.folder, upstream=nowhere)
    with load(release.folder) as ladder:
        assert ladder.predict("lamp").decision.certified


def test_the_command_line_says_what_left(private: Release, tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    with local_node(Tier.CLOUD, private.folder) as cloud:
        command = f"predict -r {private.folder} -u {cloud} --egress {path} --deadline-ms 5000 -".split()
        result = CliRunner().invoke(tianti_command, command, input="\n".join(TEXTS))
    assert result.exit_code == 0, result.output
    marks = [line.split()[2:4] + line.split("  [")[1:] for line in result.output.splitlines()]
    above = ["cloud", "top", "certified]", "2 redacted]"]
    assert marks == [["device", "score", "certified]"], above, ["device", "private"]]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
