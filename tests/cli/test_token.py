"""`tianti token`: the token alone on standard output, once; mistakes in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tianti.cli.token import token_group
from tianti.errors import UsageError
from tianti.serving.access import Access, Scope


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(token_group, [*arguments, "--file", str(path)], catch_exceptions=False)


def test_a_token_is_made_listed_and_revoked(path: Path) -> None:
    made = run(path, "create", "shop", "--scope", "predict", "--expires", "90d", "--quota", "100")
    token = made.stdout.strip()
    assert Access(path).check(f"Bearer {token}".encode(), Scope.PREDICT) == ("shop", 100.0)
    run(path, "create", "ops", "--scope", "admin", "--scope", "telemetry")
    shop, ops = run(path, "list").stdout.splitlines()
    assert "shop  predict  until " in shop and shop.endswith("100/s")
    assert ops.endswith("ops  admin,telemetry  never expires")
    assert token not in shop
    run(path, "revoke", "shop", "--id", shop.split()[0])
    assert len(run(path, "list").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "shop", "--scope", "everything"), "expected predict, admin, telemetry, got 'everything'"),
        (("create", "My Shop", "--scope", "predict"), "lower-case letters"),
        (("create", "shop", "--scope", "predict", "--expires", "soon"), "90d, 12h or 30m"),
        (("create", "shop", "--scope", "predict", "--expires", "0d"), "90d, 12h or 30m"),
        (("create", "shop", "--scope", "predict", "--expires", "999999d"), "90d, 12h or 30m"),
        (("create", "shop", "--scope", "predict", "--quota", "0"), "above 0"),
        (("revoke", "nobody"), "tianti token create"),
        (("list",), "tianti token create"),
    ],
)
def test_mistakes(path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(path, *arguments)
    assert not path.exists()


def test_what_is_not_there_cannot_be_revoked(path: Path) -> None:
    run(path, "create", "shop", "--scope", "predict")
    for arguments in (("revoke", "other"), ("revoke", "shop", "--id", "0000")):
        with pytest.raises(UsageError, match="found none"):
            run(path, *arguments)
