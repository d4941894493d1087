"""No text leaves a node but by its door: a new place that would send one is found here, and has to be thought over."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/tianti"


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the last part of the name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield (node.func.id if isinstance(node.func, ast.Name) else node.func.attr), node


def makes_a_request(tree: ast.AST) -> bool:
    return any(name == "Request" for name, _ in calls(tree))


def changes_a_text(tree: ast.AST) -> bool:
    """`replace(request, text=...)` would send what no door has seen."""
    return any(name == "replace" and any(given.arg == "text" for given in call.keywords) for name, call in calls(tree))


def writes_to_a_node(tree: ast.AST) -> bool:
    return any(name == "encode_request" for name, _ in calls(tree))


def asks_an_upstream(tree: ast.AST) -> bool:
    """`.ask(request, remaining_s)`; our own endpoints' `ask(text)` takes less."""
    return any(name == "ask" and len(call.args) == 2 for name, call in calls(tree))


def opens_connections(tree: ast.AST) -> bool:
    return any(name in ("Connection", "AsyncClient", "HTTPConnection", "HTTPSConnection") for name, _ in calls(tree))


@cache
def trees() -> dict[str, ast.AST]:
    paths = SOURCE.rglob("*.py")
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def where(does: Callable[[ast.AST], bool]) -> set[str]:
    return {path for path, tree in trees().items() if does(tree)}


def test_only_the_door_makes_a_request_of_a_text_and_nobody_gives_one_another_text() -> None:
    assert where(makes_a_request) == {"router/door.py"}
    assert where(changes_a_text) == set()


def test_only_a_climb_and_an_audit_ask_upward() -> None:
    asking = {"router/upstream.py", "router/audits.py", "runtimes/remote.py", "runtimes/endpoint.py"}
    assert where(asks_an_upstream) == asking
    assert where(writes_to_a_node) == {"runtimes/remote.py"}


def test_who_opens_connections_is_known() -> None:
    """An asked node and server, and what sends no text: updates and reports (counts), and what a mirror passes on."""
    texts = {"runtimes/http.py", "runtimes/remote.py", "runtimes/endpoint.py"}
    none = {"update/source.py", "update/reports.py", "update/enroll.py", "serving/upward.py"}
    assert where(opens_connections) == texts | none


def test_control_a_bypass_is_found() -> None:
    asks = "up.ask(Request(text=text), 1.0); msgspec.structs.replace(request, text=text)"
    tree = ast.parse(f"{asks}; Connection(url); encode_request(asked)")
    rules = (makes_a_request, changes_a_text, asks_an_upstream, opens_connections, writes_to_a_node)
    assert all(rule(tree) for rule in rules)
