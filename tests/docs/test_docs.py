"""Docs that cannot go stale: twins in both languages, every key explained, every link alive, README's code run."""

import re
import shlex
import shutil
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from tests.privacy.test_ner import make_model
from tests.tiny_release import WORDS, make_release
from tianti.cli.answer import serve_command
from tianti.cli.main import tianti_command
from tianti.package import read_release
from tianti.privacy import bind_policy, open_redactor
from tianti.privacy.scan import Fates, Scan, TypeSeen
from tianti.router.egress import Egressed
from tianti.serving.catalogue import read_wanted
from tianti.spec import ladder
from tianti.spec.named import find_function
from tianti.spec.parse import parse_spec
from tianti.spec.privacy import TYPES, DetectorSpec, PrivacyPolicy, PrivacySpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "en").glob("*.md"))]
STRUCTS = (
    ladder.DataSpec,
    ladder.FitSpec,
    ladder.CloudSpec,
    ladder.StudentSpec,
    ladder.PruneSpec,
    ladder.TrainSpec,
    ladder.CertificateSpec,
    ladder.EvaluateSpec,
    ladder.PriceSpec,
    ladder.SearchSpec,
)


def twin(page: Path) -> Path:
    return ROOT / "README.zh.md" if page.name == "README.md" else ROOT / "docs" / "zh" / page.name


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"```.*?```", page.read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_both_languages_show_the_same_code(page: Path) -> None:
    assert twin(page).is_file()
    assert code_blocks(page) == code_blocks(twin(page))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_key_of_the_spec_is_explained(lang: str) -> None:
    page = (ROOT / "docs" / lang / "ladder.md").read_text(encoding="utf-8")
    for struct in STRUCTS:
        for field in msgspec.structs.fields(struct):
            assert re.search(rf"\b{field.encode_name}\b", page), f"{field.encode_name} of {struct.__name__}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_links_to_files_are_alive(page: Path) -> None:
    for path in (page, twin(page)) if page in PAGES else (page,):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_benchmark_that_the_docs_name_is_there() -> None:
    for page in [*PAGES, *map(twin, PAGES)]:
        for name in re.findall(r"python -m benchmarks\.([\w.]+\w)", page.read_text(encoding="utf-8")):
            folder = ROOT.joinpath("benchmarks", *name.split("."))
            found = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
            assert found.is_file(), f"{page.name}: {name}"


def test_the_ladder_in_the_docs_is_valid() -> None:
    for page in PAGES:
        for block in code_blocks(page):
            if block.startswith("```yaml\nname:"):
                parse_spec(block.removeprefix("```yaml").removesuffix("```"))


def test_the_models_files_in_the_docs_are_valid(tmp_path: Path) -> None:
    found = [block for page in PAGES for block in code_blocks(page) if block.startswith("```yaml\nmodels:")]
    assert found
    for block in found:
        (tmp_path / "models.yaml").write_text(block.removeprefix("```yaml").removesuffix("```"), encoding="utf-8")
        read_wanted(tmp_path / "models.yaml")


def test_the_commands_of_nodes_in_the_docs_can_be_parsed() -> None:
    for page in PAGES:
        for block in code_blocks(page):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("tianti serve "):
                    serve_command.make_context("serve", shlex.split(line, comments=True)[2:])


def lines_of_commands(page: Path) -> list[list[str]]:
    """The words of each line of a page that calls us."""
    lines = "\n".join(code_blocks(page)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tianti ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_is_there_with_its_options(page: Path) -> None:
    for words in lines_of_commands(page):
        command: click.Command = tianti_command
        context = click.Context(tianti_command)
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, f"{page.name}: {words}"
            command = found
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        named = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word, flags=re.I)}
        assert named <= known | {"--help"}, f"{page.name}: {command.name} {named - known}"


def test_the_lines_for_nginx_are_those_of_the_example() -> None:
    known = {line.strip() for line in (ROOT / "examples" / "nginx.conf").read_text(encoding="utf-8").splitlines()}
    shown = [block for block in code_blocks(ROOT / "docs" / "en" / "fleet.md") if block.startswith("```nginx")]
    assert [line for line in shown[0].splitlines()[1:-1] if line.strip() not in known] == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_type_and_every_key_of_a_scan_is_explained(lang: str) -> None:
    page = (ROOT / "docs" / lang / "privacy.md").read_text(encoding="utf-8")
    keys = {key for struct in (Scan, Fates, TypeSeen, Egressed) for key in struct.__struct_fields__}
    assert {name for name in keys | TYPES if f"`{name}`" not in page} == set()


def add_release(folder: Path, words: dict[str, tuple[str, str, str]], privacy: PrivacyPolicy | None = None) -> None:
    """What `tianti run` would leave, as the latest."""
    made = make_release(folder / f"made-{len(words)}", words=words, name="assistant", privacy=privacy)
    releases = folder / ".tianti" / "releases"
    shutil.copytree(made.folder, releases / made.id)
    (releases / "latest").write_text(made.id, encoding="utf-8")


def test_the_page_on_updates_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIANTI_PASSPHRASE", "six words of a long passphrase")
    add_release(tmp_path, WORDS)
    for block in code_blocks(ROOT / "docs" / "en" / "updates.md"):
        if block.startswith("```python"):
            exec(compile(block.removeprefix("```python").removesuffix("```"), "updates.md", "exec"), {})
        for line in block.splitlines():
            if line == "tianti run":
                add_release(tmp_path, {**WORDS, "timer": ("timer", "alarm", "countdown")})
            elif line.startswith("tianti ") and "s3://" not in line:
                words = shlex.split(line.replace("/srv/", "srv/"), comments=True)[1:]
                done = CliRunner().invoke(tianti_command, words, catch_exceptions=False)
                assert done.exit_code == 0, f"{line}: {done.output}"


def test_the_page_on_privacy_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table and ladder.yaml are scanned with its own detector, which is the example's, and its asserts hold."""
    monkeypatch.chdir(tmp_path)
    example = (ROOT / "examples" / "own_detector.py").read_text(encoding="utf-8")
    (tmp_path / "own_detector.py").write_text(example, encoding="utf-8")
    add_release(tmp_path, WORDS, bind_policy(PrivacySpec(), tmp_path))
    told = ""
    for block in code_blocks(ROOT / "docs" / "en" / "privacy.md"):
        kind, _, content = block.removesuffix("```").partition("\n")
        if kind in ("```csv", "```yaml"):
            (tmp_path / {"```csv": "customers.csv", "```yaml": "ladder.yaml"}[kind]).write_text(
                content, encoding="utf-8"
            )
        if "def members" in content:
            assert content in example
        elif "NerDetector(" in content:
            (tmp_path / "names.py").write_text(content, encoding="utf-8")
        elif kind == "```python":
            exec(compile(content, "privacy.md", "exec"), {})
    for line in lines_of_commands(ROOT / "docs" / "en" / "privacy.md"):
        if line[0] != "serve":
            done = CliRunner().invoke(tianti_command, line, catch_exceptions=False)
            assert done.exit_code == 0, f"{line}: {done.output}"
            told += done.output
    make_model(tmp_path / "ner", {"王": "B-PER", "伟": "I-PER", "上": "B-LOC", "海": "I-LOC"})
    names = PrivacySpec(own=(DetectorSpec(use="names:names", types=("person", "address")),))
    redactor = open_redactor(bind_policy(names, tmp_path), tmp_path)
    assert redactor.leaving("王伟到上海").text == "⟦PERSON_1⟧到⟦ADDRESS_1⟧"
    members = find_function("own_detector:members", tmp_path)
    assert [len(list(members(text))) for text in ("号M-20418870的", "m20418870", "M-20418871", "AM-20418870")] == [
        1,
        1,
        0,
        0,
    ]
    for found in ("member", "id_card", "not at all", "of which climb", "tianti.scan/1"):
        assert found in told


def test_the_readme_code_runs(tiny_release: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The 12 lines of Python, on a tiny release in place of the demo's, with nobody upstream."""
    releases = tmp_path / ".tianti" / "releases"
    releases.mkdir(parents=True)
    identity = read_release(tiny_release).id
    (releases / "latest").write_text(identity, encoding="utf-8")
    shutil.copytree(tiny_release, releases / identity)
    monkeypatch.chdir(tmp_path)
    block = next(block for block in code_blocks(ROOT / "README.md") if block.startswith("```python"))
    exec(compile(block.removeprefix("```python").removesuffix("```"), "README.md", "exec"), {})


def test_every_decision_has_its_three_parts() -> None:
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in text, f"{page.name} lacks {part}"
