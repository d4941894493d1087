"""Tables and sentences about a run, for people.

Not here: computing any figure. Invariant: money is always shown with the prices it assumes.
"""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tianti.pipeline import RunRecord, Workspace
from tianti.spec import TIERS, Tier, percent

_WORDS = {
    "en": {
        "tier": "tier",
        "accuracy": "accuracy",
        "in_scope": "in scope",
        "size": "size",
        "latency": "latency p50 / p99",
        "called": "called",
        "answers": "answers at {alpha}",
        "device": "device",
        "edge": "edge",
        "cloud": "cloud",
        "certified": "Certified, for requests like the calibration rows: {risk} ({confidence} confidence).",
        "harm": "answers given below the cloud cost at most {alpha} of its accuracy",
        "disagree": "answers given below the cloud differ from its own for at most {alpha} of all requests",
        "net": "answers given below the cloud cost at most {alpha} of its accuracy, gains set against losses",
        "none": "Not certifiable with these rows: all goes to the cloud. {rows} certify rows would do.",
        "harmful": "Not certifiable: even the strictest point risked too much, so all goes to the cloud.",
        "void": "The certificate does not speak about these test rows: {why}.",
        "saves": "Saves {share} of the all-cloud price: {cost:.3f} instead of {all:.3f} per 1,000 requests, "
        "assuming {assumed} per 1,000.",
        "held": "{share} of the test rows stay on the device, not sure of them, since the privacy policy holds them.",
        "report": "Report: {path}",
    },
    "zh": {
        "tier": "层级",
        "accuracy": "准确率",
        "in_scope": "范围内",
        "size": "大小",
        "latency": "延迟 p50 / p99",
        "called": "仅调用",
        "answers": "{alpha} 时作答占比",
        "device": "端 device",
        "edge": "边 edge",
        "cloud": "云 cloud",
        "certified": "证书：对与校准数据同类的请求，{risk}（置信度 {confidence}）。",
        "harm": "云以下作答最多损失云端准确率的 {alpha}",
        "disagree": "云以下的答案与云不同的，至多占全部请求的 {alpha}",
        "net": "云以下作答得失相抵，最多损失云端准确率的 {alpha}",
        "none": "这些数据不足以认证：全部交给云。需要 {rows} 行认证数据。",
        "harmful": "无法认证：最严格的工作点风险仍然过大，全部交给云。",
        "void": "证书不适用于这些测试数据：{why}。",
        "saves": "比全部上云节省 {share}：每千次请求 {cost:.3f}，而非 {all:.3f}（假定每千次单价：{assumed}）。",
        "held": "测试数据中有 {share} 因隐私策略留在端侧，尽管端侧对其没有把握。",
        "report": "报告：{path}",
    },
}


def print_run(record: RunRecord, base: Path, lang: str = "en") -> None:
    """Print a run's tiers, its certificate in one sentence, what it saves, and where the report is."""
    words = _WORDS[lang]
    console = Console()
    levels = record.certificate["levels"]
    level = next((level for level in levels if level["alpha"] == record.served), levels[-1])
    console.print(_tier_table(record, level, words))
    for line in _sentences(record, level, words):
        console.print(line, highlight=False, soft_wrap=True)
    path = Workspace(base).report_path(record.run)
    console.print(words["report"].format(path=path), highlight=False, soft_wrap=True)


def _tier_table(record: RunRecord, level: dict[str, Any], words: dict[str, str]) -> Table:
    table = Table(title=f"{record.name}  {record.release[:12]}", title_justify="left")
    table.add_column(words["tier"])
    for column in ("accuracy", "in_scope", "size", "latency"):
        table.add_column(words[column], justify="right")
    table.add_column(words["answers"].format(alpha=percent(level["alpha"])), justify="right")
    for tier in (tier for tier in TIERS if tier in record.tiers):
        figures = record.tiers[tier]
        latency = figures["latency_ms"]
        table.add_row(
            words[tier],
            f"{figures['accuracy']:.1%}",
            f"{figures['accuracy_in_scope']:.1%}",
            f"{figures['size_bytes'] / 1e6:.2f} MB" if figures["parity"] else words["called"],
            f"{latency['p50']:.2f} / {latency['p99']:.2f} ms",
            f"{level['share'][tier]:.1%}",
        )
    return table


def _sentences(record: RunRecord, level: dict[str, Any], words: dict[str, str]) -> list[str]:
    held = [words["held"].format(share=f"{level['held']:.1%}")] if level.get("held") else []
    if not level["certified"]:
        return [words["none" if level["rows_needed"] else "harmful"].format(rows=level["rows_needed"]), *held]
    void = record.certificate["void"]
    prices, cost = record.prices, level["cost_per_1000"]
    saved = 1 - cost / prices["cloud"] if prices["cloud"] else 0.0
    assumed = ", ".join(f"{words[tier]} {prices[tier]:g}" for tier in (Tier.EDGE, Tier.CLOUD) if tier in record.tiers)
    confidence = percent(record.certificate["confidence"])
    risk = words[record.certificate["risk"]].format(alpha=percent(level["alpha"]))
    return [
        *([words["void"].format(why=void)] if void else []),
        words["certified"].format(risk=risk, confidence=confidence),
        words["saves"].format(share=f"{saved:.0%}", cost=cost, all=prices["cloud"], assumed=assumed),
        *held,
    ]


def print_comparison(first: RunRecord, second: RunRecord) -> None:
    """Print two runs side by side."""
    table = Table(title=f"{first.run}  ->  {second.run}", title_justify="left")
    for column in ("tier", "accuracy", "size MB", "p50 ms"):
        table.add_column(column, justify="left" if column == "tier" else "right")
    for tier in (tier for tier in TIERS if tier in first.tiers and tier in second.tiers):
        before, after = first.tiers[tier], second.tiers[tier]
        table.add_row(
            tier,
            f"{before['accuracy']:.1%} -> {after['accuracy']:.1%}",
            f"{before['size_bytes'] / 1e6:.2f} -> {after['size_bytes'] / 1e6:.2f}",
            f"{before['latency_ms']['p50']:.2f} -> {after['latency_ms']['p50']:.2f}",
        )
    levels = [{level["alpha"]: level for level in record.certificate["levels"]} for record in (first, second)]
    for alpha in sorted({*levels[0], *levels[1]}):
        shares = (_share_on_device(of_run.get(alpha)) for of_run in levels)
        table.add_row(f"device answers at {percent(alpha)}", " -> ".join(shares), "", "")
    Console().print(table)


def _share_on_device(level: dict[str, Any] | None) -> str:
    if level is None:
        return "-"
    return f"{level['share']['device']:.1%}" if level["certified"] else "not certified"
