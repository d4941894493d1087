"""Which releases a node serves: what its models file may say, and how that changes while the node is asked."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.serve_process import ServeProcess
from tests.serving.test_app import Client
from tests.tiny_release import make_release
from tianti.errors import PackageError, TiantiError, UsageError
from tianti.package import Release
from tianti.serving import Settings
from tianti.serving.build import Site
from tianti.serving.catalogue import Wanted, read_wanted, signature_of
from tianti.serving.tokens import Scope, create_token
from tianti.spec import Tier


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of another model."""
    return make_release(tmp_path_factory.mktemp("other"), name="other")


def write(path: Path, **models: Any) -> Path:
    whole = path.with_suffix(".new")
    whole.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    whole.replace(path)
    return path


def put(folder: Path, number: int, release: Release) -> Path:
    """A version in a folder of them, there at once."""
    shutil.copytree(release.folder, folder.with_name(f".{number}"))
    folder.mkdir(exist_ok=True)
    return folder.with_name(f".{number}").rename(folder / str(number))


def versions(site: Site, name: str = "tiny") -> dict[int, tuple[str, ...]]:
    return {each.number: each.labels for each in site.models.versions(name)}


@contextmanager
def site_of(file: Path, **more: Any) -> Iterator[Site]:
    site = Site(Settings(tier=Tier.CLOUD, models=file, **more))
    try:
        yield site
    finally:
        site._close_files()


def test_releases_by_number_with_labels_and_paths_beside_the_file(
    release: Release, newer: Release, tmp_path: Path
) -> None:
    shutil.copytree(release.folder, tmp_path / "old")
    file = write(
        tmp_path / "models.yaml",
        tiny={"releases": {"7": "old", "9": str(newer.folder)}, "labels": {"stable": 7, "canary": 9, "next": 9}},
    )
    with site_of(file) as site:
        assert versions(site) == {9: ("canary", "next"), 7: ("stable",)}
        find = site.models.find
        assert find("tiny") == find("tiny", "0") == find("tiny", "9") == find("tiny", label="next") == newer.id
        assert find("tiny", "7") == find("tiny", release.id) == find("tiny", label="stable") == release.id


def test_who_names_no_version_has_the_default_one(release: Release, newer: Release, tmp_path: Path) -> None:
    releases = {"7": str(release.folder), "9": str(newer.folder)}
    with site_of(write(tmp_path / "models.yaml", tiny={"releases": releases, "default": 7})) as site:
        find = site.models.find
        assert find("tiny") == find("tiny", "0") == release.id
        assert find("tiny", "9") == newer.id


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, [10, 9, 2]), ({"keep": 2}, [10, 9]), ({"pin": [2, 9]}, [9, 2]), ({"keep": 7}, [10, 9, 2])],
)
def test_a_folder_of_versions(release: Release, tmp_path: Path, more: dict[str, Any], expected: list[int]) -> None:
    """Newest first by number, not by name; what is no number is no version."""
    folder = tmp_path / "releases"
    for name in ("2", "9", "10", "tmp", ".3", "v4"):
        (folder / name).mkdir(parents=True)
    wanted = read_wanted(write(tmp_path / "models.yaml", tiny={"folder": "releases", **more}))["tiny"]
    assert list(wanted.versions()) == expected
    assert wanted.versions()[9] == folder / "9"


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"tiny": {"release": {1: "a"}}}, "unknown field `release`"),
        ({"tiny": {"releases": {"one": "a"}}}, "got: .*int"),
        ({"tiny": {"releases": {1: "a"}, "folder": "b"}}, "tiny: expected either releases or a folder"),
        ({"tiny": {}}, "tiny: expected either releases or a folder"),
        ({"tiny": {"folder": "b", "keep": 0}}, "keep"),
        (["tiny"], "Expected `object`, got `array`"),
        (None, "got `null`"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_its_name(tmp_path: Path, models: Any, said: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    with pytest.raises(UsageError, match=f"models.yaml: .*{said}"):
        read_wanted(file)


@pytest.mark.parametrize("content", [b"models: [", b"\xff\xfe", b"", b"other: {}"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "models.yaml"
    file.write_bytes(content)
    for path in (file, tmp_path / "not-there.yaml"):
        with pytest.raises(UsageError, match="expected a models file"):
            read_wanted(path)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(releases={1: Path("a")}, labels={"stable": 2}), "expected versions 2, got 1"),
        (Wanted(releases={1: Path("a")}, pin=[1, 3]), "expected versions 3, got 1"),
        (Wanted(releases={1: Path("a"), 2: Path("b")}, keep=1, labels={"stable": 1}), "expected versions 1, got 2"),
        (Wanted(releases={1: Path("a")}, default=2), "expected versions 2, got 1"),
        (Wanted(folder=Path("nowhere")), "in nowhere, got none"),
    ],
)
def test_what_points_to_nothing_is_said(wanted: Wanted, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        wanted.versions()


@pytest.mark.parametrize(
    ("models", "kind", "said"),
    [
        ({"wrong": {"releases": {1: "{release}"}}}, PackageError, "expected a release of wrong, got tiny"),
        ({"tiny": {"releases": {1: "nowhere"}}}, PackageError, "nowhere is not a release"),
        ({"tiny": {"folder": "nowhere"}}, UsageError, "nowhere, got none"),
    ],
)
def test_a_node_does_not_start_with_what_is_not_there(
    release: Release, tmp_path: Path, models: dict[str, Any], kind: type[TiantiError], said: str
) -> None:
    text = yaml.safe_dump({"models": models}).replace("{release}", str(release.folder))
    file = tmp_path / "models.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=said):
        Site(Settings(tier=Tier.CLOUD, models=file))


def test_releases_and_a_models_file_together_are_an_error(release: Release, tmp_path: Path) -> None:
    file = write(tmp_path / "models.yaml", tiny={"releases": {1: str(release.folder)}})
    with pytest.raises(UsageError, match="got more than one"):
        Site(Settings(tier=Tier.CLOUD, models=file, releases=(release.folder,)))
    with pytest.raises(AssertionError, match="got more than one"):
        ServeProcess("--tier", "cloud", "--models", file, "--release", release.folder)


def test_memory_is_that_of_all_versions_and_models(
    release: Release, newer: Release, other: Release, tmp_path: Path
) -> None:
    size = {each.id: each.package(Tier.CLOUD).manifest.size_bytes for each in (release, newer, other)}
    file = write(
        tmp_path / "models.yaml",
        tiny={"releases": {1: str(release.folder), 2: str(newer.folder)}},
        other={"releases": {1: str(other.folder)}},
    )
    with site_of(file, memory_bytes=sum(size.values())) as site:
        assert site.models.names == ("other", "tiny")
    with pytest.raises(UsageError, match=r"at most .* MB on this node.*--memory, or keep fewer"):
        Site(Settings(tier=Tier.CLOUD, models=file, memory_bytes=sum(size.values()) - 1))


def test_a_signature_changes_with_all_that_could_be_loaded(release: Release, tmp_path: Path) -> None:
    """Also where a version's folder is there before its files are."""
    file = write(tmp_path / "models.yaml", tiny={"folder": "releases"})
    seen = [signature_of(file)]
    for number in (1, 2):
        (tmp_path / "releases" / str(number)).mkdir(parents=True)
        seen.append(signature_of(file))
        shutil.copytree(release.folder, tmp_path / "releases" / str(number), dirs_exist_ok=True)
        seen.append(signature_of(file))
    assert len(set(seen)) == len(seen)
    assert signature_of(file) == seen[-1]
    assert signature_of(tmp_path / "nowhere") == ()


class Asking:
    """A client that asks all the time, in a thread; `failures`: what was not answered."""

    def __init__(self, node: ServeProcess, path: str = "/v1/models/tiny:predict") -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._node, self._path = node, path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with httpx2.Client(trust_env=False, base_url=self._node.url, timeout=30.0) as client:
            while not self._ended.is_set():
                answer = client.post(self._path, content=b'{"instances": ["lamp", "sonata"]}')
                if answer.status_code != 200 or '"lights"' not in answer.text:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                self.answers += 1

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        assert self.failures == []
        assert self.answers > 20


def until(happens: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < end_s, f"{what} did not happen"
        time.sleep(0.02)


def numbers(node: ServeProcess, name: str = "tiny") -> list[int]:
    answer = node.ask("GET", f"/v1/models/{name}")
    return [int(each["version"]) for each in answer.json().get("model_version_status", ())]


def test_versions_come_and_go_while_the_node_is_asked(release: Release, newer: Release, tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    folder.mkdir()
    put(folder, 1, release)
    file = write(tmp_path / "models.yaml", tiny={"folder": "releases", "labels": {"stable": 1}})
    stable = "/v1/models/tiny/labels/stable:predict"
    with ServeProcess("--tier", "cloud", "--models", file) as node:
        asking = [Asking(node), Asking(node, stable)]
        put(folder, 2, newer)
        until(lambda: numbers(node) == [2, 1], "a new version")
        drizzle = b'{"instances": ["drizzle"]}'  # a word of the older one only
        assert "weather" in node.ask("POST", stable, content=drizzle).text
        assert "weather" not in node.ask("POST", "/v1/models/tiny:predict", content=drizzle).text

        write(file, tiny={"folder": "releases", "labels": {"stable": 2}})
        until(lambda: "weather" not in node.ask("POST", stable, content=drizzle).text, "a label's move")

        (folder / "3").mkdir()
        (folder / "3" / "release.json").write_text("{}", encoding="utf-8")
        until(lambda: "stays as it is" in node.log, "a complaint about a broken version")
        assert numbers(node) == [2, 1]

        shutil.rmtree(folder / "3")
        write(file, tiny={"folder": "releases", "keep": 1, "labels": {"stable": 2}})
        until(lambda: numbers(node) == [2], "the old one's leaving")
        assert node.ask("POST", "/v1/models/tiny/versions/1:predict", content=drizzle).status_code == 404
        for each in asking:
            each.end()
        assert node.stop() == 0


def test_a_copy_that_takes_its_time_is_loaded_once_it_is_whole(
    release: Release, newer: Release, tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    put(folder, 1, release)
    file = write(tmp_path / "models.yaml", tiny={"folder": "releases"})
    with ServeProcess("--tier", "cloud", "--models", file) as node:
        asking = Asking(node)
        (folder / "2").mkdir()
        shutil.copy(newer.folder / "release.json", folder / "2")
        until(lambda: "stays as it is" in node.log, "a complaint about half a version")
        shutil.copytree(newer.folder / "packages", folder / "2" / "packages")
        until(lambda: numbers(node) == [2, 1], "its loading")
        asking.end()


def test_a_release_whose_files_are_gone_goes_on_answering(release: Release, newer: Release, tmp_path: Path) -> None:
    for name, each in (("a", release), ("b", newer)):
        shutil.copytree(each.folder, tmp_path / name)
    file = write(tmp_path / "models.yaml", tiny={"releases": {1: "a", 2: "b"}})
    with ServeProcess("--tier", "cloud", "--models", file) as node:
        asking = Asking(node)
        shutil.rmtree(tmp_path / "b")
        until(lambda: "stays as it is" in node.log, "a complaint")
        assert numbers(node) == [2, 1]
        assert node.ask("POST", "/v1/models/tiny:predict", content=b'{"instances": ["candle"]}').status_code == 200
        asking.end()


@pytest.fixture
def two(release: Release, other: Release, tmp_path: Path) -> Iterator[Client]:
    """A node with two models, in this process."""
    file = write(
        tmp_path / "models.yaml",
        tiny={"releases": {1: str(release.folder)}},
        other={"releases": {4: str(other.folder)}},
    )
    client = Client(Settings(tier=Tier.CLOUD, models=file))
    client._runner.run(client.site.begin())
    yield client
    client.close()


def test_two_models_side_by_side(two: Client, release: Release, other: Release) -> None:
    for name, number, found in (("tiny", "1", release), ("other", "4", other)):
        answer = two.send("POST", f"/v1/models/{name}:predict", content=b'{"instances": ["lamp"]}').json()
        assert answer["predictions"][0]["package"] == found.record.packages[Tier.CLOUD]
        assert two.get(f"/v1/models/{name}")["model_version_status"][0]["version"] == number
    assert {each["name"] for each in two.send("POST", "/v2/repository/index").json()} == {"tiny", "other"}
    unnamed = two.send("POST", "/v1/predict", content=b'{"text": "lamp"}')
    assert unnamed.status_code == 400 and "expected one of" in unnamed.json()["error"]


def test_a_model_is_unloaded_and_loaded_again_on_demand(two: Client) -> None:
    assert two.send("POST", "/v2/repository/models/tiny/unload").status_code == 200
    assert two.send("POST", "/v1/models/tiny:predict", content=b'{"instances": ["lamp"]}').status_code == 404
    assert two.get("/readyz") == {"live": True}
    assert two.send("POST", "/v2/repository/models/tiny/unload").status_code == 404
    assert two.send("POST", "/v2/repository/models/other/unload").status_code == 200
    assert two.send("GET", "/readyz").status_code == 503
    assert two.send("POST", "/v2/repository/models/tiny/load").status_code == 200
    assert two.send("POST", "/v1/models/tiny:predict", content=b'{"instances": ["lamp"]}').status_code == 200
    assert two.send("POST", "/v2/repository/models/nobody/load").status_code == 404


def test_loading_what_cannot_be_loaded_says_why_and_changes_nothing(two: Client, tmp_path: Path) -> None:
    write(tmp_path / "models.yaml", tiny={"releases": {1: "nowhere"}})
    refused = two.send("POST", "/v2/repository/models/tiny/load")
    assert refused.status_code == 400 and "is not a release" in refused.json()["error"]
    assert two.send("POST", "/v1/models/tiny:predict", content=b'{"instances": ["lamp"]}').status_code == 200
    (tmp_path / "models.yaml").write_text("models: [", encoding="utf-8")
    assert two.send("POST", "/v2/repository/models/tiny/load").status_code == 400
    assert two.send("POST", "/v1/models/tiny:predict", content=b'{"instances": ["lamp"]}').status_code == 200


@pytest.mark.parametrize("what", ["load", "unload"])
def test_only_an_admin_changes_what_is_loaded(release: Release, tmp_path: Path, what: str) -> None:
    tokens = tmp_path / "tokens.json"
    asks = create_token(tokens, "shop", (Scope.PREDICT, Scope.TELEMETRY))
    changes = create_token(tokens, "ops", (Scope.ADMIN,))
    with ServeProcess("--tier", "cloud", "--release", release.folder, "--tokens", tokens) as node:
        path = f"/v2/repository/models/tiny/{what}"
        for token, status in ((None, 401), (asks, 403), (changes, 200)):
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            assert node.ask("POST", path, headers=headers).status_code == status


def test_what_was_asked_before_its_model_went_is_answered(two: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every dialect: also where the answer's form needs to know the model."""
    from tianti.router import Answer
    from tianti.serving.lane import Job, Lane

    run = Lane.run

    def slow(lane: Lane, group: list[Job]) -> list[Answer | Any]:
        time.sleep(0.1)
        return run(lane, group)

    monkeypatch.setattr(Lane, "run", slow)
    monkeypatch.setattr(Lane, "expected_ms", lambda *_: 10.0)  # long enough for the thread
    two.send("POST", "/v2/repository/models/other/unload")
    tasks = [
        two.start("POST", path, content=body)
        for path, body in (
            ("/v1/predict", b'{"text": "lamp"}'),
            ("/v1/models/tiny:predict", b'{"instances": ["lamp"]}'),
            ("/invocations", b'{"instances": ["lamp"]}'),
            ("/predict", b'{"instances": ["lamp"]}'),
        )
    ]
    assert two.send("POST", "/v2/repository/models/tiny/unload").status_code == 200
    for task in tasks:
        answer = two.finish(task)
        assert answer.status_code == 200, answer.text
        assert "lights" in answer.text


def test_all_releases_of_a_model_share_the_ways_up(release: Release, newer: Release, tmp_path: Path) -> None:
    """What one finds out about a node above, the others know; and none is left behind by those that come and go."""
    file = write(tmp_path / "models.yaml", tiny={"releases": {1: str(release.folder), 2: str(newer.folder)}})
    site = Site(Settings(tier=Tier.EDGE, models=file, upstreams=("http://127.0.0.1:9",)))
    one, two = site.models.desks("tiny").values()
    assert one.node.upstreams[0] is two.node.upstreams[0]
    site._close_files()
