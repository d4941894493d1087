"""Replayed logs of real nodes: the same with nothing changed, the truth or a range round it with something changed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from tests.graded_release import LAX, MIDDLE, STRICT, graded_texts, make_graded_release
from tests.tiny_release import make_release
from tianti.device import load
from tianti.errors import DataError, IntegrityError, PackageError, UsageError
from tianti.package import Release
from tianti.pipeline.sides import Range, Side
from tianti.pipeline.what_if import Asked, WhatIf, what_if
from tianti.privacy import bind_policy
from tianti.serving.local import local_node
from tianti.spec import TIERS, Reason, Tier
from tianti.spec.logged import Logged
from tianti.spec.privacy import Handling, PrivacyPolicy, PrivacySpec

TEXTS = graded_texts(150)
Running = Callable[..., Path]


class Nodes:
    """Edge and cloud of a release, while a test module runs; `log` has a device ask them."""

    def __init__(self, release: Release, folder: Path, edge: str, cloud: str) -> None:
        self.release, self.folder, self.edge, self.cloud = release, folder, edge, cloud
        self.made = 0

    def log(self, point: float = MIDDLE, upstream: Sequence[str] | None = None, texts: bool = False) -> Path:
        self.made += 1
        path = self.folder / f"{self.made}.jsonl"
        ways = [self.edge, self.cloud] if upstream is None else list(upstream)
        with load(
            self.release.folder, ways, point=point, audits=0.0, deadline_ms=10_000, log=path, log_texts=texts
        ) as ladder:
            for text in TEXTS:
                ladder.predict(text)
        return path

    def replay(self, path: Path, find: Callable[[str], Path] | None = None, **asked: object) -> WhatIf:
        return what_if(path, Asked(**{"of": str(self.release.folder), **asked}), find or Path)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    release = make_graded_release(tmp_path_factory.mktemp("graded"))
    with ExitStack() as stack:
        cloud = stack.enter_context(local_node(Tier.CLOUD, release.folder))
        edge = stack.enter_context(local_node(Tier.EDGE, release.folder, [cloud]))
        yield Nodes(release, tmp_path_factory.mktemp("logs"), edge, cloud)


@pytest.fixture(scope="module")
def middle(nodes: Nodes) -> Path:
    return nodes.log(MIDDLE)


def truth(path: Path) -> tuple[dict[Tier, float], float]:
    """Share of each tier and cost per 1,000, counted from a log by hand."""
    lines = [msgspec.json.decode(line, type=Logged) for line in path.read_bytes().splitlines()]
    share = {tier: sum(line.answered is tier for line in lines) / len(lines) for tier in TIERS}
    return share, (share[Tier.EDGE] + share[Tier.CLOUD]) * 0.02 + share[Tier.CLOUD] * 0.2


def change(path: Path, number: int, **fields: object) -> Path:
    """The log with one line changed."""
    lines = [msgspec.json.decode(line, type=Logged) for line in path.read_bytes().splitlines()]
    lines[number] = msgspec.structs.replace(lines[number], **fields)
    changed = path.with_suffix(".changed.jsonl")
    changed.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return changed


def figures(side: Side) -> tuple[dict[Tier, float], float]:
    assert all(found.low == found.high for found in (*side.share.values(), side.cost_per_1000))
    return {tier: found.low for tier, found in side.share.items()}, side.cost_per_1000.low


def test_with_nothing_changed_it_is_what_it_was(nodes: Nodes, middle: Path) -> None:
    found = nodes.replay(middle).found
    share, cost = truth(middle)
    assert min(share.values()) > 0.05, "every tier answers some, else this shows nothing"
    assert found.before == found.after
    assert figures(found.after) == (share, pytest.approx(cost))
    assert (found.contradicting, found.unknown, found.anew, found.late) == (0, 0, 0, 0)
    assert (found.after.risk, found.after.certified, found.after.degraded) == (MIDDLE, Range(1.0, 1.0), Range(0.0, 0.0))


def test_one_altered_score_does_not_reproduce(nodes: Nodes, middle: Path) -> None:
    lines = [msgspec.json.decode(line, type=Logged) for line in middle.read_bytes().splitlines()]
    number = next(index for index, line in enumerate(lines) if line.answered is Tier.CLOUD)
    device, *above = lines[number].seen
    altered = change(middle, number, seen=(msgspec.structs.replace(device, score=0.999), *above))
    found = nodes.replay(altered)
    assert found.found.before != found.found.after
    assert found.found.contradicting == 1 and "the log was changed" in found.findings[0]


def test_a_laxer_point_is_exact(nodes: Nodes, middle: Path) -> None:
    found = nodes.replay(middle, point=LAX).found
    share, cost = truth(nodes.log(LAX))
    assert figures(found.after) == (share, pytest.approx(cost))
    assert share != truth(middle)[0]
    assert found.after.risk == LAX


def test_a_stricter_point_is_a_range_round_the_truth(nodes: Nodes, middle: Path) -> None:
    found = nodes.replay(middle, point=STRICT).found
    share, cost = truth(nodes.log(STRICT))
    assert found.after.share[Tier.DEVICE] == Range(share[Tier.DEVICE], share[Tier.DEVICE])
    for tier in (Tier.EDGE, Tier.CLOUD):
        assert found.after.share[tier].low <= share[tier] <= found.after.share[tier].high
        assert found.after.share[tier].low < found.after.share[tier].high
    assert found.after.cost_per_1000.low <= cost <= found.after.cost_per_1000.high
    assert found.unknown > 0 and found.anew >= found.unknown


def test_with_texts_and_the_models_a_stricter_point_is_exact(nodes: Nodes) -> None:
    asked = {"point": STRICT, "release": str(nodes.release.folder)}
    found = nodes.replay(nodes.log(MIDDLE, texts=True), **asked)
    share, cost = truth(nodes.log(STRICT))
    assert found.ran and found.found.unknown == 0
    assert figures(found.found.after) == (share, pytest.approx(cost))


def test_other_models_are_run_on_the_texts(nodes: Nodes, middle: Path, tmp_path: Path) -> None:
    """The other device knows what this one's edge knows."""
    words = {"lights": ("lantern", "lamp", "luminaire"), "music": ("tune", "song", "sonata")}
    words["weather"] = ("drizzle", "rain", "precipitation")
    other = make_graded_release(tmp_path, words)
    with pytest.raises(UsageError, match="150 of 150 without; log with `serve --log-texts`"):
        nodes.replay(middle, release=str(other.folder))
    found = nodes.replay(nodes.log(MIDDLE, texts=True), release=str(other.folder))
    with (
        local_node(Tier.CLOUD, other.folder) as cloud,
        local_node(Tier.EDGE, other.folder, [cloud]) as edge,
        load(other.folder, [edge, cloud], audits=0.0, deadline_ms=10_000, log=tmp_path / "log") as ladder,
    ):
        for text in TEXTS:
            ladder.predict(text)
    share, cost = truth(tmp_path / "log")
    assert figures(found.found.after) == (share, pytest.approx(cost))
    assert (found.release, found.asked_release) == (nodes.release.id, other.id)
    assert any("Times are of the models that were in use" in line for line in found.findings)


@pytest.mark.parametrize("upstreams", [(), (Tier.CLOUD,), (Tier.EDGE,)], ids=["none", "cloud", "edge"])
def test_other_upstreams_are_as_if_they_had_been(nodes: Nodes, middle: Path, upstreams: tuple[Tier, ...]) -> None:
    found = nodes.replay(middle, upstreams=upstreams).found.after
    if upstreams == (Tier.EDGE,):  # an edge whose own upstream is none
        with local_node(Tier.EDGE, nodes.release.folder) as alone:
            share, _ = truth(nodes.log(MIDDLE, [alone]))
    else:
        share, _ = truth(nodes.log(MIDDLE, [nodes.cloud] if upstreams else []))
    assert {tier: of.low for tier, of in found.share.items()} == share
    paid = 0.02 * share[Tier.EDGE] + 0.2 * share[Tier.CLOUD]  # the cloud's answers did not pass the edge
    assert figures(found)[1] == pytest.approx(paid)
    assert found.degraded == Range(0.0, 0.0)
    assert (found.certified.high < 1.0) == (Tier.CLOUD not in upstreams)


def test_what_was_out_of_reach_stays_out_of_reach(nodes: Nodes) -> None:
    with local_node(Tier.EDGE, nodes.release.folder, ["http://127.0.0.1:9"]) as edge:
        log = nodes.log(MIDDLE, [edge])
    same, lax = nodes.replay(log).found, nodes.replay(log, point=LAX).found
    assert same.before == same.after and same.contradicting == 0
    assert 0.0 < lax.after.degraded.high < same.after.degraded.high == same.before.degraded.high
    assert any("out of reach still" in line for line in nodes.replay(log).findings)
    assert nodes.replay(log, upstreams=()).found.after.degraded == Range(0.0, 0.0)
    assert nodes.replay(log, upstreams=(Tier.CLOUD,)).found.after.degraded == same.before.degraded


def test_an_edge_that_was_passed_over_is_so_again_unless_it_is_named(nodes: Nodes, middle: Path) -> None:
    log = middle.with_suffix(".both.jsonl")
    log.write_bytes(middle.read_bytes() + nodes.log(MIDDLE, [nodes.cloud]).read_bytes())
    found = nodes.replay(log)
    passed_over = round(len(TEXTS) * (1 - truth(middle)[0][Tier.DEVICE]))
    assert found.found.before == found.found.after and found.found.contradicting == 0
    assert found.found.passed_over == passed_over > 0
    assert any("passed over the edge" in line for line in found.findings)
    named = nodes.replay(log, upstreams=(Tier.EDGE, Tier.CLOUD)).found
    share = truth(middle)[0][Tier.CLOUD]
    assert (named.passed_over, named.unknown) == (0, passed_over)
    assert named.after.share[Tier.CLOUD].low <= share <= named.after.share[Tier.CLOUD].high


def test_nodes_of_two_tiers_may_share_a_log(nodes: Nodes, middle: Path) -> None:
    """What a device had above it is not what an edge has."""
    path = middle.with_suffix(".mixed.jsonl")
    path.write_bytes(middle.read_bytes())
    with load(nodes.release.folder, nodes.cloud, tier=Tier.EDGE, point=MIDDLE, audits=0.0, log=path) as ladder:
        for text in TEXTS:
            ladder.predict(text)
    found = nodes.replay(path).found
    assert found.before == found.after and found.requests == 2 * len(TEXTS)
    assert (found.contradicting, found.passed_over) == (0, 0)
    assert found.after.certified.high < 1.0, "no certificate speaks of requests that enter at the edge"
    assert figures(nodes.replay(path, point=LAX).found.after)[0] != figures(found.after)[0]


def test_prices_and_times_are_as_they_are_named(nodes: Nodes, middle: Path) -> None:
    share, _ = truth(middle)
    asked = {"prices": {Tier.EDGE: 1.0, Tier.CLOUD: 10.0}, "latency_ms": {Tier.CLOUD: 20_000.0}}
    found = nodes.replay(middle, **asked).found
    assert found.after.cost_per_1000.low == pytest.approx(share[Tier.EDGE] + 11.0 * share[Tier.CLOUD])
    assert found.before.cost_per_1000.low == pytest.approx(truth(middle)[1])
    assert found.after.p99_ms is not None and found.before.p99_ms is not None
    assert found.before.p99_ms.high < 10_000 < 20_000 < found.after.p99_ms.low
    assert found.late == round(share[Tier.CLOUD] * len(TEXTS))


def test_a_tier_that_never_answered_has_no_time_until_it_is_named(nodes: Nodes) -> None:
    log = nodes.log(MIDDLE, [nodes.cloud])
    assert nodes.replay(log).found.before == nodes.replay(log).found.after
    unknown = nodes.replay(log, upstreams=(Tier.EDGE, Tier.CLOUD))
    assert unknown.found.after.p50_ms is None and any("--latency" in line for line in unknown.findings)
    assert unknown.found.unknown > 0
    named = nodes.replay(log, upstreams=(Tier.EDGE, Tier.CLOUD), latency_ms={Tier.EDGE: 5.0})
    assert named.found.after.p50_ms is not None


def test_a_log_that_never_climbed_does_not_tell_to_whom(nodes: Nodes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with load(nodes.release.folder, point=LAX, log=path) as ladder:
        ladder.predict("lamp lantern lantern lantern")
    assert figures(nodes.replay(path).found.after)[0][Tier.DEVICE] == 1.0
    with pytest.raises(UsageError, match="--upstreams edge,cloud"):
        nodes.replay(path, point=STRICT)
    found = nodes.replay(path, point=STRICT, upstreams=(Tier.EDGE, Tier.CLOUD)).found
    assert found.after.share == {Tier.DEVICE: Range(0, 0), Tier.EDGE: Range(0, 1), Tier.CLOUD: Range(0, 1)}


def test_a_point_that_is_not_certified_is_refused_with_those_that_are(nodes: Nodes, middle: Path) -> None:
    with pytest.raises(UsageError, match=r"certifies \(0\.005, 0\.01, 0\.02\), got 0\.03"):
        nodes.replay(middle, point=0.03)


def test_a_line_that_a_crash_cut_off_is_skipped_and_counted(nodes: Nodes, middle: Path, tmp_path: Path) -> None:
    whole = middle.read_bytes()
    for cut_at in (1, 10, 40, 200):
        path = tmp_path / "log"
        path.write_bytes(whole + whole[:cut_at])
        found = nodes.replay(path)
        assert (found.cut, found.found.requests) == (1, 150)
        assert "1 line cut off" in found.findings[0]
        path.write_bytes(whole[:cut_at] + b"\n" + whole)  # by a crash long ago, and appended to since
        assert nodes.replay(path).cut == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected decisions, got none"),
        (b"hello\n", "line 1"),
        (b'{"text": "a", "label": "b"}\n', "line 1"),
        (bytes(range(200)), "line 1"),
        (b'{"schema":"tianti.decision/1","time":1.0}\n', "line 1"),
    ],
)
def test_what_is_no_log_is_named(nodes: Nodes, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        nodes.replay(path)
    with pytest.raises(DataError, match="No such file"):
        nodes.replay(tmp_path / "nothing")


def test_a_changed_way_and_another_schema_are_named(nodes: Nodes, middle: Path) -> None:
    for fields, said in (
        ({"seen": ()}, "got nobody"),
        ({"answered": Tier.CLOUD, "reason": Reason.TOP}, "up to cloud"),
        ({"schema": "tianti.decision/2"}, "update tianti"),
    ):
        lines = [msgspec.json.decode(line, type=Logged) for line in middle.read_bytes().splitlines()]
        number = next(index for index, line in enumerate(lines) if line.answered is Tier.DEVICE)
        with pytest.raises(DataError, match=said) as raised:
            nodes.replay(change(middle, number, **fields))
        assert f"line {number + 1}" in str(raised.value)


def test_several_releases_in_a_log_are_told_apart(nodes: Nodes, middle: Path, tmp_path: Path) -> None:
    log = change(middle, 3, release="f" * 64)
    releases = {nodes.release.id: nodes.release.folder}

    def find(name: str) -> Path:
        if name not in releases:
            raise PackageError(f"no release {name}")
        return releases[name]

    with pytest.raises(UsageError, match=r"one release, got several; name one with --of: .*149 decisions.*1 decisions"):
        nodes.replay(log, find, of=None)
    assert nodes.replay(log, find, of=nodes.release.id).found.requests == 149
    with pytest.raises(PackageError, match=r"expected the release of LOG, f{64}.*--of"):
        nodes.replay(log, find, of="f" * 64)
    with pytest.raises(UsageError, match="got 'aaaaaaaa'"):
        nodes.replay(log, find, of="aaaaaaaa")


def test_a_release_whose_bytes_are_not_its_own_is_not_run(nodes: Nodes, tmp_path: Path) -> None:
    other = make_graded_release(tmp_path)
    model = other.folder / "packages" / "device" / "onnx" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError):
        nodes.replay(nodes.log(MIDDLE, texts=True), release=str(other.folder))


def test_a_program_that_was_killed_leaves_a_log_that_replays(nodes: Nodes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    code = (
        "import sys; from tianti import load\n"
        "with load(sys.argv[1], log=sys.argv[2]) as ladder:\n"
        "    while True: ladder.predict('lamp')"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(nodes.release.folder), str(path)]) as process:
        while not (path.is_file() and path.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    found = nodes.replay(path)
    assert found.cut <= 1 and found.found.requests > 0
    assert found.found.before == found.found.after


def test_under_another_policy_texts_stay_or_go(tmp_path: Path) -> None:
    """Half of the texts that the device is not sure of have a phone number, which one of the releases holds."""
    texts = [f"{word} {number}" for word in ("lamp", "lantern", "sonata") for number in ("13800138000", "please")]

    def policy(handling: Handling) -> PrivacyPolicy:
        return bind_policy(PrivacySpec(types={"phone": handling}), Path())

    allowing, holding = (
        make_release(tmp_path / handling, privacy=policy(handling))  # type: ignore[arg-type]
        for handling in ("allow", "local_only")
    )
    logs = {}
    for release in (allowing, holding):
        logs[release.id] = tmp_path / f"{release.id}.jsonl"
        with (
            local_node(Tier.CLOUD, release.folder) as cloud,
            load(
                release.folder, [cloud], audits=0.0, deadline_ms=10_000, log=logs[release.id], log_texts=True
            ) as ladder,
        ):
            for text in texts:
                ladder.predict(text)
    none, some = Range(0.0, 0.0), Range(2 / 6, 2 / 6)
    for then, now, before, after in ((allowing, holding, none, some), (holding, allowing, some, none)):
        asked = Asked(of=str(then.folder), release=str(now.folder), upstreams=(Tier.CLOUD,))
        found = what_if(logs[then.id], asked, Path).found
        assert (found.before.private, found.after.private) == (before, after)
        assert found.contradicting == 0
        assert found.after.certified.low == pytest.approx(1 - after.low)
    again = what_if(logs[holding.id], Asked(of=str(holding.folder)), Path).found
    assert again.before == again.after and again.after.private == some
