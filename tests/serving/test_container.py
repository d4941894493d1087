"""The container's files, as far as they can be checked without an engine: what they name is there, and can be run."""

import fnmatch
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.papers import Papers
from tests.serve_process import ServeProcess
from tianti.cli.answer import serve_command
from tianti.package import Release
from tianti.serving.drain import BACKLOG_S, DRAIN_S

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_KEYWORDS = {
    "ARG",
    "FROM",
    "ENV",
    "WORKDIR",
    "COPY",
    "RUN",
    "USER",
    "EXPOSE",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
}


def read_stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage of the Dockerfile, as (keyword, rest), FROM first."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            stages.append([])
        stages[-1].append((keyword, rest.strip()))
    return stages[1:]


BUILD, FINAL = read_stages()


def of(stage: list[tuple[str, str]], keyword: str) -> list[str]:
    return [rest for each, rest in stage if each == keyword]


def is_sent(path: str) -> bool:
    """Does a file reach the build, by .dockerignore? The last pattern that matches it or a folder above it counts."""
    sent, parts = True, path.split("/")
    prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if not pattern or line.startswith("#"):
            continue
        names = parts if "**/" in line else prefixes
        if any(fnmatch.fnmatchcase(name, pattern) for name in names):
            sent = line.startswith("!")
    return sent


def copied() -> list[str]:
    return [name for rest in of(BUILD, "COPY") for name in rest.split()[:-1]]


def test_only_known_instructions_are_used() -> None:
    assert {keyword for stage in (BUILD, FINAL) for keyword, _ in stage} <= _KEYWORDS


def test_what_is_copied_is_there_and_is_sent() -> None:
    for name in copied():
        assert (ROOT / name).exists(), name
        assert is_sent(name), name
    assert is_sent("src/tianti/cli/main.py")
    for name in (
        "tests/conftest.py",
        ".git/config",
        "src/tianti/__pycache__/x.pyc",
        "deploy/secrets/node.key",
        ".venv/x",
    ):
        assert not is_sent(name), name


def test_what_the_wheel_is_made_of_is_copied() -> None:
    project, wheel = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        "pyproject.toml",
        project["readme"],
        *project["license-files"],
        PROJECT["tool"]["hatch"]["version"]["path"],
    ]
    for path in [*needed, *wheel["packages"]]:
        assert any(path == name or path.startswith(f"{name}/") for name in copied()), path


def test_it_installs_the_package_with_an_extra_that_there_is_from_wheels_alone() -> None:
    wheels, install = of(BUILD, "RUN")
    assert of(BUILD, "ARG") == ["EXTRAS=serve"]
    assert "serve" in PROJECT["project"]["optional-dependencies"]
    assert wheels.endswith('-c constraints.txt ".[${EXTRAS}]"')
    assert "--no-index" in install and install.endswith(f'"{PROJECT["project"]["name"]}[${{EXTRAS}}]"')
    assert "PIP_NO_CACHE_DIR=1" in of(BUILD, "ENV")[0]


def test_the_extras_that_the_comments_name_are_there() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    for names in re.findall(r"EXTRAS=([\w,]+)", text):
        assert set(names.split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_the_final_stage_runs_as_nobody_in_particular_and_builds_nothing() -> None:
    (user,) = of(FINAL, "USER")
    assert user.partition(":")[0].isdecimal() and int(user.partition(":")[0]) > 0
    assert of(FINAL, "RUN") == []
    assert of(FINAL, "COPY") == ["--from=build /opt/tianti /opt/tianti"]
    assert of(FINAL, "STOPSIGNAL") == ["SIGTERM"]


def test_ports_are_those_of_the_command_and_of_the_docs() -> None:
    http, grpc = of(FINAL, "EXPOSE")[0].split()
    assert [option.default for option in serve_command.params if option.name == "port"] == [int(http)]
    assert f"--grpc-port {grpc}" in (ROOT / "docs" / "en" / "grpc.md").read_text(encoding="utf-8")


def test_the_entry_point_is_the_command_that_the_package_installs() -> None:
    program, *rest = json.loads(of(FINAL, "ENTRYPOINT")[0])
    module, _, function = PROJECT["project"]["scripts"][program].partition(":")
    code = f"import sys; from {module} import {function}; sys.argv[0] = {program!r}; {function}()"
    ran = subprocess.run([sys.executable, "-c", code, *rest, "--help"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "--models" in ran.stdout


def check_health(url: str) -> int:
    keyword, _, rest = of(FINAL, "HEALTHCHECK")[0].partition("CMD ")
    assert "--start-period" in keyword
    program, *arguments = json.loads(rest)
    assert program == "python"
    environ = {**os.environ, "HEALTH_URL": url}
    return subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, check=False).returncode


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_the_health_check_sees_a_node_and_its_end(release: Release, tmp_path: Path, tls: bool) -> None:
    papers = Papers(tmp_path)
    options = ["--tls-cert", papers.node.certificate, "--tls-key", papers.node.key] if tls else []
    with ServeProcess("--tier", "cloud", "--release", release.folder, *options) as node:
        assert check_health(f"{node.url}/readyz") == 0
        node.stop()
        assert check_health(f"{node.url}/readyz") == 1


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))


def kubernetes() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")))


def container() -> dict[str, Any]:
    return kubernetes()[0]["spec"]["template"]["spec"]["containers"][0]


def commands() -> list[list[str]]:
    services = [each["command"] for each in compose()["services"].values()]
    documented = re.findall(r"tianti-node (--.*)", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"))
    return [*services, container()["args"], *(line.split() for line in documented)]


def test_every_command_that_is_given_to_a_container_can_be_parsed() -> None:
    assert len(commands()) == 4
    for each in commands():
        serve_command.make_context("serve", list(each))
    with pytest.raises(click.NoSuchOption):  # the control
        serve_command.make_context("serve", ["--tier", "edge", "--tokens-file", "x"])


def test_who_is_reached_from_elsewhere_has_papers_or_is_said_to_be_insecure() -> None:
    services = compose()["services"]
    for name, each in services.items():
        options = serve_command.make_context("serve", list(each["command"])).params
        assert options["insecure"] == (name == "cloud")
        assert ("ports" in each) != options["insecure"]
        for kind in ("tokens", "tls_cert", "tls_key"):
            assert (options[kind] is None) == options["insecure"]
    assert services["cloud"]["networks"] == ["inside"] and compose()["networks"]["inside"]["internal"]
    options = serve_command.make_context("serve", list(container()["args"])).params
    assert options["tokens"] and options["tls_cert"] and not options["insecure"]


def test_files_that_the_commands_name_are_mounted() -> None:
    services = compose()["services"]
    for each in services.values():
        mounts = [volume.split(":")[1] for volume in each["volumes"]]
        mounts += [f"/run/secrets/{name}" for name in each.get("secrets", ())]
        assert set(each.get("secrets", ())) <= set(compose()["secrets"])
        for path in re.findall(r"(?<![\w:/])/[\w./]+", " ".join(each["command"])):
            assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path
        assert each["read_only"] and each["tmpfs"] == ["/tmp"]
    mounts = [each["mountPath"] for each in container()["volumeMounts"]]
    for path in re.findall(r"=(/[\w./]+)", " ".join(container()["args"])):
        assert any(path.startswith(f"{mount}/") for mount in mounts), path
    volumes = kubernetes()[0]["spec"]["template"]["spec"]["volumes"]
    assert {each["name"] for each in volumes} == {each["name"] for each in container()["volumeMounts"]}


def test_there_is_time_to_answer_what_is_under_way() -> None:
    drain_s = BACKLOG_S + DRAIN_S
    for each in compose()["services"].values():
        assert int(each["stop_grace_period"].removesuffix("s")) > drain_s
    leaves_s = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert kubernetes()[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > leaves_s + drain_s


def test_kubernetes_asks_where_a_node_answers(release: Release) -> None:
    with ServeProcess("--tier", "cloud", "--release", release.folder) as node:
        for kind, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/readyz")):
            probe = container()[kind]["httpGet"]
            assert probe == {"path": path, "port": "https", "scheme": "HTTPS"}
            assert node.ask("GET", path).status_code == 200
    (port,) = container()["ports"]
    (service,) = kubernetes()[1]["spec"]["ports"]
    assert (service["targetPort"], str(port["containerPort"])) == (port["name"], of(FINAL, "EXPOSE")[0].split()[0])
    assert kubernetes()[1]["spec"]["selector"] == kubernetes()[0]["spec"]["template"]["metadata"]["labels"]


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    pod, inside = kubernetes()[0]["spec"]["template"]["spec"], container()["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == of(FINAL, "USER")[0]
    assert inside["readOnlyRootFilesystem"] and not inside["allowPrivilegeEscalation"]
    assert inside["capabilities"] == {"drop": ["ALL"]} and not pod["automountServiceAccountToken"]
