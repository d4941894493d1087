"""A stage of your own: one function. Name it in ladder.yaml and put this file beside it:

    stages: [{use: "own_stage:drop_short", after: prepare}]

It reads what the stage before it wrote, and writes the same kind of folder to `context.out`; later stages read that
instead. Here: training rows of one character teach nothing and are left out. A stage may drop rows or add rows to
train; what changes the text that a model sees belongs into the tokenizer, where every tier sees the same.
"""

from tianti.data import read_prepared, write_prepared
from tianti.pipeline import StageContext
from tianti.spec import Role

SHORTEST = 2


def drop_short(context: StageContext) -> None:
    """What ladder.yaml names."""
    prepared = read_prepared(context.inputs["prepare"])
    rows = prepared.rows[Role.TRAIN]
    context.progress(0, len(rows), "dropping short rows")
    rows[:] = [row for row in rows if len(row.text) >= SHORTEST]
    write_prepared(prepared, context.out)
