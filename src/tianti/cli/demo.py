"""`tianti demo`: build the sample ladder, start its three nodes here, ask, show, stop.

Not here: building or serving. Invariant: when the command ends, nothing of it is running.
"""

from contextlib import ExitStack
from pathlib import Path

import click

from tianti.spec import Prediction, Tier

_WORDS = {
    "en": {
        "build": "Building the sample ladder in {folder} (a second run reuses what did not change).",
        "nodes": "Cloud and edge are running on this machine; the device model is in this process.",
        "asked": "asked",
        "answer": "answer",
        "tier": "answered by",
        "why": "why",
        "score": "score met the certified threshold",
        "top": "the lower models were not sure enough",
        "no_upstream": "nobody above was asked",
        "next": "Go on:",
        "report": "see why, in pictures",
        "predict": "ask the device model alone",
        "up": "run the three nodes until Ctrl-C",
        "own": "start with your own text: replace data/ and run `tianti run`",
    },
    "zh": {
        "build": "正在 {folder} 中构建示例天梯（再次运行会复用未改变的部分）。",
        "nodes": "云和边节点已在本机运行；端侧模型就在本进程里。",
        "asked": "问题",
        "answer": "回答",
        "tier": "作答层级",
        "why": "原因",
        "score": "得分达到经认证的阈值",
        "top": "下层模型把握不足",
        "no_upstream": "没有询问上层",
        "next": "接下来：",
        "report": "看图了解原因",
        "predict": "只问端侧模型",
        "up": "运行三个节点，按 Ctrl-C 停止",
        "own": "换成你的文本：替换 data/ 后运行 `tianti run`",
    },
}


@click.command("demo")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("tianti-demo"), show_default=True
)
def demo_command(lang: str, folder: Path) -> None:
    """Build the sample ladder, start cloud, edge and device on this machine, and ask some questions."""
    from tianti.cli.progress import ProgressBars
    from tianti.cli.tables import print_run
    from tianti.data.sample import questions
    from tianti.pipeline import Workspace
    from tianti.pipeline.build import build_ladder
    from tianti.pipeline.scaffold import write_scaffold

    words = _WORDS[lang]
    ladder = folder / "ladder.yaml"
    if not ladder.exists():
        write_scaffold(folder)
    click.echo(words["build"].format(folder=folder), err=True)
    with ProgressBars() as bars:
        record = build_ladder(ladder, bars)
    release = Workspace(folder).releases / record.release
    answers = _ask(release, questions(lang), words)
    _print_answers(answers, words)
    print_run(record, folder, lang)
    _print_next(folder, words)


def _ask(release: Path, texts: list[str], words: dict[str, str]) -> list[tuple[str, Prediction]]:
    from tianti.device import load
    from tianti.serving.local import local_node

    with ExitStack() as stack:
        cloud = stack.enter_context(local_node(Tier.CLOUD, release))
        edge = stack.enter_context(local_node(Tier.EDGE, release, upstreams=[cloud]))
        click.echo(words["nodes"], err=True)
        ladder = stack.enter_context(load(release, upstream=[edge, cloud]))
        return [(text, ladder.predict(text)) for text in texts]


def _print_answers(answers: list[tuple[str, Prediction]], words: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("asked", "answer", "tier", "why"):
        table.add_column(words[column])
    table.add_column("ms", justify="right")
    for text, answer in answers:
        reason = words.get(answer.decision.reason, str(answer.decision.reason))
        table.add_row(text, answer.label, answer.tier, reason, f"{answer.decision.ms:.1f}")
    Console().print(table)


def _print_next(folder: Path, words: dict[str, str]) -> None:
    click.echo(f"\n{words['next']}")
    for command, what in (
        (f"cd {folder}", ""),
        ("tianti report", words["report"]),
        ('tianti predict "turn off the kitchen light"', words["predict"]),
        ("tianti up", words["up"]),
    ):
        click.echo(f"  {command:<48}{'# ' + what if what else ''}".rstrip())
    click.echo(f"  {words['own']}")


COMMANDS = (demo_command,)
