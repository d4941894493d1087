"""What our node must show, and whether it does: ratios within one run, the best setting of the best peer."""

from collections.abc import Iterator, Sequence

from benchmarks.serving.measure import Cell, Row
from benchmarks.serving.servers import OURS

OF_LIMIT = {
    "small": {64: 0.52},
    "encoder": {64: 0.85, 8: 0.72, 1: 0.72},
    "minilm": {64: 0.85, 8: 0.72, 1: 0.72},
    "encoder-bf16": {64: 0.68},
    "minilm-bf16": {64: 0.68},
}
"""The last two with AMX, and of the limit of the same engine."""
TIMES_BEST_PEER = {"small": 4.0, "encoder": 1.4, "minilm": 1.4}
_MOST = 64


def judge(model: str, rows: Sequence[Row]) -> Iterator[str]:
    """A line for each target of a model; none where our node was not measured."""
    ours = next((row for row in rows if row.server.name == OURS and row.cells), None)
    if ours is None:
        return
    cells = {cell.connections: cell for cell in ours.cells}
    for connections, target in OF_LIMIT[model].items():
        cell = cells[connections]
        by_cpu = f"by CPU {ours.limit.cpu_us / cell.cpu_us:.2f}"
        yield _line(f"of the limit at {connections} ({by_cpu})", cell.load.per_second / ours.limit.per_second, target)
    peers = [row for row in rows if row.server.name != OURS and row.cells]
    if peers:
        best = max(peers, key=share_of_limit)
        by_cpu = f"by CPU {_at_most(best).cpu_us / cells[_MOST].cpu_us:.2f}"
        times = share_of_limit(ours) / share_of_limit(best)
        whose = f"{best.server.shown} {best.server.mode}".strip()
        yield _line(f"times the best peer at {_MOST} ({whose}; {by_cpu})", times, TIMES_BEST_PEER[model])
    yield from _small(ours, cells) if model == "small" else _tail(cells[_MOST])


def share_of_limit(row: Row) -> float:
    """Of the limit of the same minutes: what compares servers where the machine was not equally busy for all."""
    return _at_most(row).load.per_second / row.limit.per_second


def _at_most(row: Row) -> Cell:
    return next(cell for cell in row.cells if cell.connections == _MOST)


def _small(ours: Row, cells: dict[int, Cell]) -> Iterator[str]:
    yield _line("ms added to one call at 1, p50", cells[1].load.p50_ms - ours.single.call_p50_ms, 0.35, most=True)
    yield _line("MB of memory, PSS", cells[_MOST].pss_bytes / 1e6, 130.0, most=True)


def _tail(cell: Cell) -> Iterator[str]:
    yield _line(f"p99 / p50 at {_MOST}", cell.load.p99_ms / cell.load.p50_ms, 1.5, most=True)


def _line(what: str, got: float, target: float, most: bool = False) -> str:
    met = got <= target if most else got >= target
    return f"  {'met   ' if met else 'MISSED'} {what}: {got:.2f}, target {'<=' if most else '>='} {target:g}"
