"""Who may ask: tokens are known by their hash, for what they are for, until they end; while the node runs."""

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tianti.errors import AccessError, UsageError
from tianti.serving import access as access_module
from tianti.serving.access import Access, Caller, Scope
from tianti.serving.tokens import create_token, read_tokens, revoke_tokens


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def header(token: str) -> bytes:
    return f"Bearer {token}".encode()


def refusal(access: Access, authorization: bytes | None, scope: Scope = Scope.PREDICT) -> AccessError:
    with pytest.raises(AccessError) as raised:
        access.check(authorization, scope)
    return raised.value


def test_a_token_is_known_for_what_it_is_for(path: Path) -> None:
    shop = create_token(path, "shop", (Scope.PREDICT,), quota_per_s=100)
    ops = create_token(path, "ops", (Scope.ADMIN, Scope.TELEMETRY))
    access = Access(path)
    assert access.check(header(shop), Scope.PREDICT) == Caller("shop", 100.0)
    assert access.check(header(ops).replace(b"Bearer", b"bearer"), Scope.ADMIN) == Caller("ops", None)
    for token, scope in ((shop, Scope.ADMIN), (shop, Scope.TELEMETRY), (ops, Scope.PREDICT)):
        refused = refusal(access, header(token), scope)
        assert refused.known and str(scope) in str(refused)


def test_whatever_is_wrong_about_a_token_the_refusal_says_the_same(path: Path) -> None:
    clock = Clock()
    clock.now_s = time.time()
    token = create_token(path, "shop", (Scope.PREDICT,), expires_in="30m")
    access = Access(path, wall_clock=clock)
    access.check(header(token), Scope.PREDICT)
    clock.now_s += 3600
    known = json.loads(path.read_text(encoding="utf-8"))["tokens"][0]["sha256"]
    guesses = [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic " + token.encode(),
        token.encode(),
        header(token),  # it has expired
        header(token[:-1]),
        header(token + "A"),
        header(known),
        b"Bearer " + bytes.fromhex(known),
        b"Bearer " + bytes(32),
        b"\xff" * 10_000,
    ]
    refused = [refusal(access, guess) for guess in guesses]
    assert {str(each) for each in refused} == {str(refused[0])}
    assert not any(each.known for each in refused)
    assert "shop" not in str(refused[0])


def test_a_hash_is_compared_in_constant_time_whoever_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No measured time: noise would hide the difference, or show one. Who is not known is compared as well."""
    compared = []

    class Spy:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return one == other

    token = create_token(path, "shop", (Scope.PREDICT,))
    access = Access(path)
    monkeypatch.setattr(access_module, "hmac", Spy)
    access.check(header(token), Scope.PREDICT)
    for guess in (None, b"Basic x", header("tianti_shop_x"), header(token[:-1])):
        refusal(access, guess)
    assert compared == [(32, 32)] * 5


def test_tokens_change_while_the_node_runs(path: Path) -> None:
    clock = Clock()
    old = create_token(path, "shop", (Scope.PREDICT,))
    access = Access(path, clock)
    new = create_token(path, "shop", (Scope.PREDICT,))
    refusal(access, header(new))  # not looked at again within the second
    clock.now_s = 1.0
    assert access.check(header(old), Scope.PREDICT) == access.check(header(new), Scope.PREDICT)
    first, second = read_tokens(path)
    assert revoke_tokens(path, "shop", first.id) == 1
    clock.now_s = 2.0
    access.check(header(new), Scope.PREDICT)
    assert not refusal(access, header(old)).known
    assert revoke_tokens(path, "shop") == 1
    clock.now_s = 3.0
    refusal(access, header(new))
    assert read_tokens(path) == () and second.id != first.id


def test_a_broken_file_keeps_the_tokens_of_before_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    token = create_token(path, "shop", (Scope.PREDICT,))
    access = Access(path, clock)
    path.write_text("{", encoding="utf-8")
    with caplog.at_level(logging.ERROR, "tianti"):
        for clock.now_s in (1.0, 2.0, 3.0):
            access.check(header(token), Scope.PREDICT)
    assert len(caplog.records) == 1 and str(path) in caplog.text


def test_only_a_hash_is_kept(path: Path) -> None:
    tokens = [create_token(path, "shop", (Scope.PREDICT,)) for _ in range(3)]
    assert len(set(tokens)) == 3
    for token in tokens:
        assert token.startswith("tianti_shop_") and len(token) == len("tianti_shop_") + 43
        assert token[-20:] not in path.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_only_the_owner_reads_the_file_and_what_others_may_write_is_refused(path: Path) -> None:
    create_token(path, "shop", (Scope.PREDICT,))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)  # of a node with a user of its own
    create_token(path, "shop", (Scope.PREDICT,))
    assert path.stat().st_mode & 0o777 == 0o640
    Access(path)
    for mode in (0o660, 0o602):
        path.chmod(mode)
        with pytest.raises(UsageError, match="chmod 600"):
            Access(path)


def test_two_who_add_at_once_are_both_in_the_file(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda i: create_token(path, f"n{i}", (Scope.PREDICT,)), range(16)))
    access = Access(path)
    assert {access.check(header(token), Scope.PREDICT).name for token in tokens} == {f"n{i}" for i in range(16)}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "tokens:",
        '{"schema": 2, "tokens": []}',
        '{"schema": 1, "tokens": [{"name": "a"}]}',
        '{"schema": 1, "tokens": [{"name": "a", "sha256": "00", "scopes": [], "created": "2026-01-01T00:00:00Z"}]}',
        '{"schema": 1, "tokens": [], "more": 1}',
    ],
)
def test_a_file_that_is_not_one_of_tokens_is_named(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(UsageError, match=r"tokens\.json"):
        Access(path)


def test_a_missing_file_comes_with_its_cure(path: Path) -> None:
    with pytest.raises(UsageError, match="tianti token create"):
        Access(path)
