"""`tianti keys` and `tianti release` as their user runs them, on real releases; python-tuf's client reads them."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.release.publisher import NOW_S, Client
from tests.release.test_publishing import measured
from tests.tiny_release import WORDS, make_release
from tianti.cli.main import tianti_command
from tianti.errors import GateError, IntegrityError, StoreError, UsageError
from tianti.package import Release, read_release, write_release
from tianti.spec import Tier

PASSPHRASE = "correct horse battery"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Release]:
    words = [{**WORDS, "music": ("song", "tune", last)} for last in ("sonata", "opus", "fugue")]
    return [make_release(tmp_path_factory.mktemp("release"), words=each) for each in words]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `tianti`; what it says on stdout. `sign` in place of `release` gives the repository and the keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIANTI_PASSPHRASE", PASSPHRASE)

    def invoke(*arguments: object) -> str:
        words = list(map(str, arguments))
        if words[0] == "sign":
            words = ["release", *words[1:], "-R", "repo", "-K", "keys"]
        return CliRunner().invoke(tianti_command, words, catch_exceptions=False).stdout

    invoke("keys", "init", "keys", "--repository", "repo")
    yield invoke


def invoked(*words: str) -> Result:
    """As `run` of `sign`, with what is said to a person."""
    words = ("release", *words[1:], "-R", "repo", "-K", "keys")
    return CliRunner().invoke(tianti_command, words, catch_exceptions=False)


def said(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def seen(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What python-tuf's own client sees, from the root that was written beside the keys."""
    from tests.release import publisher

    monkeypatch.setattr(publisher, "PRODUCT", "tiny")
    return Client(folder, cache, Path("keys/root.json").read_bytes()).see()


def test_a_release_from_its_keys_to_its_devices_and_back(
    run: Run, releases: list[Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = releases
    published = said(run("sign", "publish", first.folder, "--json"))
    assert (published["release"], published["counter"], published["problems"]) == (first.id, 1, [])
    assert published["tiers"]["device"]["update_bytes"] is None
    assert "nothing is rolled out; releases are offered of: tiny" in run("release", "show", "-R", "repo")
    run("sign", "rollout", "tiny", "latest", "--steps", "100%", "--poll", "5m")
    run("sign", "promote", "tiny")
    assert seen(tmp_path / "repo", tmp_path / "a", monkeypatch)["release"] == first.id

    published = said(run("sign", "publish", second.folder, "--json"))
    device = published["tiers"]["device"]
    assert device["update_bytes"] < device["download_bytes"] < device["size_bytes"]
    begun = said(
        run(
            "sign",
            "rollout",
            "tiny",
            second.id[:12],
            "--steps",
            "5 devices",
            "--steps",
            "100%",
            "--enrolled",
            "50",
            "--json",
        )
    )
    assert begun["rollout"]["previous"] == first.id
    assert begun["rollout"]["poll_s"] == 300  # as before
    assert (begun["plan"]["at"], [step["ppm"] for step in begun["plan"]["steps"]]) == (-1, [100_000, 1_000_000])
    assert begun["plan"]["terms"]["dwell_s"] == 3_600
    assert "(release 2) for 10% of the devices, step 1 of 2" in run("sign", "promote", "tiny")
    assert seen(tmp_path / "repo", tmp_path / "b", monkeypatch)["rings"][0]["ppm"] == 100_000  # type: ignore[index]
    with pytest.raises(UsageError, match="s are left; wait, or say --now"):
        run("sign", "promote", "tiny")
    run("sign", "promote", "tiny", "--now")
    with pytest.raises(UsageError, match="taken its last"):
        run("sign", "promote", "tiny", "--now")
    assert "[HALTED]" in run("sign", "halt", "tiny")
    assert f"{first.id[:12]} (release 1) for 100% of the devices" in run("sign", "rollback", "tiny")
    assert seen(tmp_path / "repo", tmp_path / "c", monkeypatch)["release"] == first.id
    lines = run("release", "list", "-R", "repo").splitlines()
    assert [line.split()[1:] for line in lines] == [["2", second.id[:12]], ["1", first.id[:12], "stable"]]


def test_a_revoked_release_and_all_before_it(run: Run, releases: list[Release]) -> None:
    for release in releases:
        run("sign", "publish", release.folder)
    run("sign", "rollout", "tiny", "latest")
    found = said(run("sign", "revoke", "tiny", releases[1].id[:8], "--and-older", "--json"))
    assert (found["revoked"], found["floor"]) == ([releases[1].id], 3)
    with pytest.raises(UsageError, match="from the floor 3 up"):
        run("sign", "rollback", "tiny", "--release", releases[0].id)
    shown = said(run("release", "show", "-R", "repo", "--json"))
    assert (shown["floors"], shown["findings"]) == ({"tiny": 3}, [])
    marks = [json.loads(line)["revoked"] for line in run("release", "list", "-R", "repo", "--json").splitlines()]
    assert marks == [False, True, False]


def test_a_worse_release_needs_a_reason_which_is_kept(run: Run, releases: list[Release], tmp_path: Path) -> None:
    packages = {tier: releases[0].package(tier).folder for tier in releases[0].record.packages}

    def with_metrics(name: str, accuracy: float) -> Path:
        record = measured(releases[0].record, accuracy, home=(400, accuracy))
        return write_release(tmp_path / name, record, packages).folder

    run("sign", "publish", with_metrics("good", 0.9))
    run("sign", "rollout", "tiny", "latest", "--steps", "100%")
    run("sign", "promote", "tiny")
    before = sorted(Path("repo").rglob("*"))
    with pytest.raises(GateError, match=r"at least 90.00%, got 80.00%.*domain=home.*--force REASON"):
        run("sign", "publish", with_metrics("bad", 0.8))
    assert sorted(Path("repo").rglob("*")) == before
    forced = said(run("sign", "publish", tmp_path / "bad", "--force", "half the size", "--json"))
    assert (forced["forced"], len(forced["problems"])) == ("half the size", 2)
    assert "forced: half the size" in run("release", "list", "-R", "repo")
    with pytest.raises(UsageError, match="expected a reason"):
        run("sign", "publish", tmp_path / "bad", "--force", " ")
    assert (
        said(run("sign", "publish", with_metrics("better", 0.95), "--force", "to be sure", "--json"))["forced"] is None
    )


def test_what_could_not_be_compared_is_said(run: Run, releases: list[Release]) -> None:
    run("sign", "publish", releases[0].folder)
    run("sign", "rollout", "tiny", "latest", "--steps", "100%")
    run("sign", "promote", "tiny")
    published = invoked("sign", "publish", str(releases[1].folder))
    assert f"not compared: {releases[0].id[:12]}" in published.stderr


def test_a_release_that_does_not_do_what_it_says_is_stopped(run: Run, tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    package = release.folder / "packages/device"
    record = msgspec.json.decode((package / "manifest.json").read_bytes())
    golden = (package / "golden.jsonl").read_bytes().replace(b'"label":"lights"', b'"label":"music"')
    (package / "golden.jsonl").write_bytes(golden)
    with pytest.raises(IntegrityError, match=r"golden\.jsonl: expected"):  # no reason helps against other bytes
        run("sign", "publish", release.folder, "--force", "in a hurry")
    wrong = rebound(release, golden, record)
    with pytest.raises(GateError, match="golden 1 of"):
        run("sign", "publish", wrong.folder)
    assert said(run("sign", "publish", wrong.folder, "--force", "known", "--json"))["forced"] == "known"


def rebound(release: Release, golden: bytes, manifest: dict[str, Any]) -> Release:
    """The release with another golden.jsonl, all hashes right."""
    from tianti.package import bind
    from tianti.store import canonical_json, sha256_bytes

    manifest["files"]["golden.jsonl"] = {"sha256": sha256_bytes(golden), "size_bytes": len(golden)}
    content = canonical_json(manifest)
    (release.folder / "packages/device/manifest.json").write_bytes(content)
    packages = {**release.record.packages, Tier.DEVICE: sha256_bytes(content)}
    bound = bind(packages, release.record.heads)
    certificate = msgspec.structs.replace(release.record.certificate, bound=bound)
    record = msgspec.structs.replace(release.record, packages=packages, certificate=certificate)
    (release.folder / "release.json").write_bytes(canonical_json(record))
    return read_release(release.folder)


def test_copies_follow_and_a_stick_is_filled(
    run: Run, releases: list[Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sign", "publish", releases[0].folder, "--to", tmp_path / "copy")
    run("sign", "rollout", "tiny", "latest", "--to", tmp_path / "copy")
    assert seen(tmp_path / "copy", tmp_path / "a", monkeypatch)["release"] == releases[0].id
    assert said(run("release", "upload", tmp_path / "copy", "-R", "repo", "--json"))["files"] == 0
    made = said(run("release", "export", "--media", tmp_path / "stick", "-R", "repo", "--tier", "device", "--json"))
    assert (made["releases"], made["files"] > 10) == ([releases[0].id], True)
    assert seen(tmp_path / "stick", tmp_path / "b", monkeypatch)["release"] == releases[0].id
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="it is done in repo: `tianti release upload` copies it"):
        run("sign", "halt", "tiny", "--to", tmp_path / "file")
    assert "[HALTED]" in run("release", "show", "-R", "repo")


def test_a_wrong_clock_signs_nothing(run: Run, releases: list[Release], monkeypatch: pytest.MonkeyPatch) -> None:
    run("sign", "publish", releases[0].folder)
    before = Path("repo/metadata/timestamp.json").read_bytes()
    monkeypatch.setattr("tianti.cli.signing.time.time", lambda: NOW_S - 86_400)
    with pytest.raises(StoreError, match="set the clock"):
        run("sign", "refresh")
    # ahead, what it signs would be the least time that devices believe from then on
    monkeypatch.setattr("tianti.cli.signing.time.time", lambda: NOW_S + 400 * 86_400)
    with pytest.raises(StoreError, match=r"root has expired at .* or the clock is ahead"):
        run("sign", "revoke", "tiny", "latest")
    assert Path("repo/metadata/timestamp.json").read_bytes() == before


def test_a_hub_may_renew_while_a_release_is_being_packed(
    run: Run, releases: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tianti import release as room

    lay = room.lay_release

    def slowly(*arguments: Any, **options: Any) -> Any:
        made = lay(*arguments, **options)
        monkeypatch.setattr("tianti.cli.signing.time.time", lambda: NOW_S + 3_600)
        monkeypatch.setattr(room, "lay_release", lay)
        run("sign", "refresh")
        return made

    monkeypatch.setattr(room, "lay_release", slowly)
    assert said(run("sign", "publish", releases[0].folder, "--json"))["counter"] == 1


def test_keys_may_lie_apart_and_an_online_machine_needs_three(
    run: Run, releases: list[Release], tmp_path: Path
) -> None:
    run("sign", "publish", releases[0].folder)
    online = tmp_path / "online"
    online.mkdir()
    for name in ("rollout.pem", "snapshot.pem", "timestamp.pem", "root.json"):
        (tmp_path / "keys" / name).rename(online / name)
    steer = ("-R", "repo", "-K", online)
    run("release", "rollout", "tiny", "latest", *steer)
    run("release", "promote", "tiny", *steer)
    assert said(run("release", "refresh", *steer, "--json"))["written"] == ["metadata/timestamp.json"]
    with pytest.raises(UsageError, match="models: expected 1 signatures"):
        run("release", "publish", releases[1].folder, *steer)
    with pytest.raises(UsageError, match="targets: expected 1 signatures"):
        run("release", "revoke", "tiny", releases[0].id, *steer)
    with pytest.raises(UsageError, match="beside the keys, got none"):
        run("release", "refresh", "-R", "repo", "-K", "keys")
    run("release", "publish", releases[1].folder, *steer, "-K", "keys")


@pytest.mark.parametrize("role", ["rollout", "timestamp", "models", "targets"])
def test_a_key_that_was_stolen_signs_no_more_and_devices_follow_the_new_one(
    run: Run, releases: list[Release], role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.release import publisher

    run("sign", "publish", releases[0].folder)
    run("sign", "rollout", "tiny", "latest")
    monkeypatch.setattr(publisher, "PRODUCT", "tiny")
    early = Client(tmp_path / "repo", tmp_path / "early", Path("keys/root.json").read_bytes())
    assert early.see()["release"] == releases[0].id
    made = said(run("keys", "rotate", role, "--into", "new", "-R", "repo", "-K", "keys", "--json"))["keys"]
    assert made == sorted(path.name for path in Path("keys").glob(f"{role}*.pem"))
    with pytest.raises(UsageError, match=r"has keys already"):
        run("keys", "rotate", role, "--into", "new", "-R", "repo", "-K", "keys")
    signing = {"models": ("publish", releases[1].folder), "targets": ("revoke", "tiny", "latest")}
    words = (*signing.get(role, ("halt", "tiny")), "-R", "repo", "-K", "keys")
    with pytest.raises(UsageError, match=f"{role}: expected 1 signatures by its keys, got 0"):
        run("release", *words)
    run("release", *words, "-K", "new")
    assert early.see()["release"] == releases[0].id
    assert Path("new/root.json").read_bytes() == Path("keys/root.json").read_bytes()  # the first one trusted


def test_roots_that_were_stolen_name_no_keys_any_more(run: Run, tmp_path: Path) -> None:
    run("keys", "rotate", "root", "--into", "new", "-R", "repo", "-K", "keys")
    theft = ("keys", "rotate", "rollout", "timestamp", "-R", "repo", "-K", "keys")
    with pytest.raises(UsageError, match="root: expected 2 signatures by its keys, got 0"):
        run(*theft, "--into", "mine")
    run(*theft, "--into", "ours", "-K", "new")


def test_all_keys_of_a_hub_are_replaced_at_once(run: Run, releases: list[Release]) -> None:
    roles = ("rollout", "snapshot", "timestamp")
    run("sign", "publish", releases[0].folder)
    run("keys", "rotate", *roles, "--into", "new", "-R", "repo", "-K", "keys")
    run("release", "rollout", "tiny", "latest", "-R", "repo", "-K", "new")
    assert Path("repo/metadata/2.root.json").is_file()
    assert not Path("repo/metadata/3.root.json").exists()
    for role in roles:
        Path(f"keys/{role}.pem").rename(f"keys/{role}.old")
    with pytest.raises(UsageError, match="expected 1 signatures"):
        run("keys", "rotate", "rollout", "--into", "again", "-R", "repo", "-K", "keys")
    run("keys", "rotate", "rollout", "--into", "third", "-R", "repo", "-K", "keys", "-K", "new")


def test_a_step_in_devices_reaches_as_many_of_those_that_the_hub_knows(run: Run, releases: list[Release]) -> None:
    from tests.fleet.members import Member
    from tianti.fleet import SqliteLedger, invite
    from tianti.package import Facts, decide, decode_rollout
    from tianti.store import canonical_json

    ledger = SqliteLedger(Path("hub.sqlite"))
    token, invitation = invite(Tier.DEVICE, "tiny", "stable", 0, uses=30)
    ledger.add_invitation(invitation)
    asked = [Member().ask(token, tags=("kiosk",) if number < 9 else ()) for number in range(20)]
    ids = [ledger.enroll(each, 1).id for each in asked]
    ledger.revoke(ids[8], 2)
    run("sign", "publish", releases[0].folder)
    steps = ("--steps", "3 devices", "--steps", "100%", "--tag", "kiosk")
    begun = invoked("sign", "rollout", "tiny", "latest", *steps, "--db", "hub.sqlite")
    assert "of 8 devices that are enrolled, the steps reach 3, 8" in begun.stderr
    run("sign", "promote", "tiny")
    shown = said(run("release", "show", "-R", "repo", "--json"))["rollouts"][0]["rollout"]
    rollout = decode_rollout(canonical_json(shown))
    facts = [Facts(device_id=each, runtime="9", abi="x", tags=frozenset(["kiosk"])) for each in ids[:8]]
    assert sum(decide(rollout, each, None, 10**10).release is not None for each in facts) == 3


def test_who_starts_a_rollout_is_told_that_a_step_may_reach_nobody(run: Run, releases: list[Release]) -> None:
    run("sign", "publish", releases[0].folder)
    few = invoked("sign", "rollout", "tiny", "latest", "--steps", "1 device", "--steps", "100%", "--enrolled", "20")
    assert "a step of 1 of 20 devices is drawn by their names: none with a chance of 35.8%" in few.stderr
    many = invoked("sign", "rollout", "tiny", "latest", "--steps", "6 devices", "--steps", "100%", "--enrolled", "20")
    assert "chance" not in many.stderr


def test_a_hub_that_publishes_all_the_time_disturbs_nobody(run: Run, releases: list[Release]) -> None:
    from tianti.hub.press import Press
    from tianti.release import refresh

    run("sign", "publish", releases[0].folder)
    run("sign", "rollout", "tiny", "latest")
    press, done = Press(Path("repo"), Path("keys"), PASSPHRASE), threading.Event()
    failed: list[Exception] = []

    def renew() -> None:
        while not done.is_set():
            try:
                press.change(NOW_S, lambda found, signers: refresh(found, signers, NOW_S))
            except Exception as error:
                failed.append(error)

    hub = threading.Thread(target=renew)
    hub.start()
    try:
        for _ in range(5):
            run("sign", "halt", "tiny")
            run("sign", "rollout", "tiny", "latest")
    finally:
        done.set()
        hub.join()
    assert failed == []


def test_an_isolated_repository_keeps_its_profile(run: Run) -> None:
    run("keys", "init", "far-keys", "-R", "far", "--profile", "isolated")
    run("release", "refresh", "-R", "far", "-K", "far-keys")
    expires = [said(run("release", "show", "-R", name, "--json"))["expires"]["timestamp"] for name in ("repo", "far")]
    assert expires[1] - expires[0] > 80 * 86_400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys", "init", "keys2", "-R", "repo"), "expected a new folder, got one with metadata"),
        (("keys", "init", "keys", "-R", "other"), "has keys already"),
        (("sign", "publish", "nowhere"), "no single release 'nowhere'"),
        (("sign", "rollout", "tiny", "latest"), "products here: none"),
        (("sign", "rollout", "tiny", "latest", "--dwell", "soon"), "30m, 1h or 2d"),
        (("sign", "rollout", "tiny", "latest", "--steps", "5 devices"), "give a %"),
        (("sign", "promote", "tiny"), "tiny stable: expected a rollout with a step to go"),
        (("sign", "halt", "tiny"), "known: none"),
        (("release", "show", "-R", "nowhere"), "name a repository's folder"),
        (("release", "export", "-R", "repo", "--media", "stick"), "start one first"),
        (("release", "upload", "moon://x", "-R", "repo"), "moon"),
    ],
)
def test_mistakes(run: Run, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        run(*arguments)
    assert type(caught.value).__module__ == "tianti.errors"


def test_a_passphrase_comes_from_a_file_or_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIANTI_PASSPHRASE")
    with pytest.raises(UsageError, match="set TIANTI_PASSPHRASE, or name --passphrase-file"):
        run("sign", "refresh")
    Path("secret").write_text(PASSPHRASE + "\n")
    run("sign", "refresh", "--passphrase-file", "secret")
    Path("secret").write_text("something else\n")
    with pytest.raises(UsageError, match="expected a key under this passphrase"):
        run("sign", "refresh", "--passphrase-file", "secret")
