"""The decision log of real nodes: every request that enters here, once, with what each tier said."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tianti.device import load
from tianti.errors import UsageError
from tianti.package import Release
from tianti.protocols.infer import InferRequest
from tianti.router import Journal, Node, connect
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.lane import Lane
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Tier
from tianti.spec.logged import Logged

TEXTS = ["lamp", "lantern", "luminaire", "nonsense", "tune"]


def read(path: Path) -> list[Logged]:
    return [msgspec.json.decode(line, type=Logged) for line in path.read_bytes().splitlines()]


def test_every_answer_is_a_line_and_the_shares_of_time_add_up(release: Release, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with (
        local_node(Tier.CLOUD, release.folder) as cloud,
        local_node(Tier.EDGE, release.folder, [cloud]) as edge,
        load(release.folder, upstream=[edge, cloud], log=path) as ladder,
    ):
        answers = [ladder.predict(text) for text in TEXTS]
        answers += ladder.predict_many(TEXTS)
        answers += asyncio.run(ladder.apredict_many(TEXTS))
    found = read(path)
    assert len(found) == len(answers) == 15
    assert sorted(line.answered for line in found) == sorted(answer.tier for answer in answers)
    for line, answer in zip(found[:5], answers, strict=False):
        assert (line.release, line.entry, line.point) == (release.id, Tier.DEVICE, answer.decision.point)
        assert (line.answered, line.reason, line.ms) == (answer.tier, answer.decision.reason, answer.decision.ms)
        assert line.seen[-1].tier is answer.tier and line.seen[-1].score == answer.score
        assert sum(said.ms for said in line.seen) == pytest.approx(line.ms)
        assert all(said.ms > 0 for said in line.seen)
        assert line.text is None
    assert [len(line.seen) for line in found[:5]] == [1, 2, 3, 3, 2]
    assert b"lantern" not in path.read_bytes()


def test_an_answer_that_was_kept_for_want_of_a_higher_one_is_logged_as_such(
    release: Release, nowhere: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    with load(release.folder, upstream=nowhere, log=path, log_texts=True) as ladder:
        ladder.predict("lantern")
    (line,) = read(path)
    assert (line.reason, line.degraded, line.text) == (Reason.UPSTREAM_DOWN, True, "lantern")
    assert [said.tier for said in line.seen] == [Tier.DEVICE]


def test_a_node_logs_what_enters_there_and_not_what_comes_from_below(release: Release, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal(path)

    async def ask(cloud: str) -> tuple[Prediction, ...]:
        (ways,) = connect([cloud], [release])
        engine = Engine()
        desk = Desk(Lane(Node(release, Tier.EDGE, ways)), engine, journal)
        below = InferRequest(texts=("lantern",), release=release.id, point=0.01, passed_by=Tier.DEVICE)
        await desk.infer(below, known=True)
        entered = await desk.infer(InferRequest(texts=("lantern", "luminaire")), known=True)
        await desk.aclose()
        for way in ways:
            await way.aclose()
        engine.close()
        return entered

    with local_node(Tier.CLOUD, release.folder) as cloud:
        answers = asyncio.run(ask(cloud))
    journal.close()
    assert sorted((line.entry, line.answered) for line in read(path)) == [
        (Tier.EDGE, Tier.CLOUD),
        (Tier.EDGE, Tier.EDGE),
    ]
    assert [answer.tier for answer in answers] == [Tier.EDGE, Tier.CLOUD]


def test_texts_without_a_log_are_a_wrong_use(release: Release) -> None:
    with pytest.raises(UsageError, match="log=FILE"):
        load(release.folder, log_texts=True)
