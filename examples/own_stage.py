"""A stage of your own: one function. Name it in ladder.yaml and put this file beside it:

    stages: [{use: "own_stage:shorten", after: prepare}]

It reads what the stage before it wrote, and writes the same kind of folder to `context.out`; later stages read that
instead. Here: texts are cut to 200 characters before anything is trained or certified on them.
"""

import msgspec

from tianti.data import read_prepared, write_prepared
from tianti.pipeline import StageContext

LONGEST = 200


def shorten(context: StageContext) -> None:
    """What ladder.yaml names."""
    prepared = read_prepared(context.inputs["prepare"])
    for role, rows in prepared.rows.items():
        context.progress(0, len(rows), f"shortening {role}")
        rows[:] = [msgspec.structs.replace(row, text=row.text[:LONGEST]) for row in rows]
    write_prepared(prepared, context.out)
