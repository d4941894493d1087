"""An engine that rounds by the length of a call: padded alone as in company, no answer depends on who else is there."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny_release import WORDS
from tianti.package import Release
from tianti.router import Answer, Node
from tianti.runtimes import OnnxRuntime
from tianti.serving.costs import Costs
from tianti.serving.lane import Job, Lane
from tianti.spec import Tier

STEP = 4
CHEAP_TOGETHER = Costs((1, 32), (2, 8), [[1.0, 4.0], [2.0, 8.0]])


def make_node(release: Release, length_step: int) -> Node:
    """Its logits are off by another amount for each length that is no multiple of `STEP`."""
    node = Node(release, Tier.CLOUD)
    runtime = node.runtime
    assert isinstance(runtime, OnnxRuntime)
    runtime.length_step, exact = length_step, runtime._infer

    def infer(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        off = np.random.default_rng(ids.shape[1]).normal(size=len(node.labels)) if ids.shape[1] % STEP else 0.0
        return np.asarray(exact(ids) + off, np.float32)

    runtime._infer = infer  # type: ignore[method-assign]
    return node


def run_all(lane: Lane, texts: Sequence[str]) -> tuple[list[Answer], list[set[int]]]:
    """The answers, in order, and the numbers of tokens in each group."""
    loop = asyncio.new_event_loop()
    jobs = [Job(lane, text, None, (0, at), 0.0, 1.0, loop.create_future()) for at, text in enumerate(texts)]
    loop.close()
    lane.add(jobs)
    found, groups = dict[Job, Answer](), []
    while lane:
        group = lane.take(lane.urgent())
        groups.append({len(job.text.split()) for job in group})
        for job, answer in zip(group, lane.run(group), strict=True):
            assert isinstance(answer, Answer)
            found[job] = answer
    return [found[job] for job in jobs], groups


@pytest.mark.parametrize("step", [STEP, 1])
def test_no_answer_in_company_is_another_than_alone(release: Release, step: int) -> None:
    """The control is the same engine where nobody pads: decisions differ."""
    rng = random.Random(1)
    known = [words[0] for words in WORDS.values()]
    texts = [" ".join(rng.choice(known) for _ in range(rng.randint(0, 8))) for _ in range(300)]
    node = make_node(release, step)
    alone = [node.answer(text) for text in texts]
    answers, groups = run_all(Lane(node, CHEAP_TOGETHER), texts)
    assert len(groups) < len(texts) / 4 and any(len(lengths) > 1 for lengths in groups)
    if step == STEP:
        assert answers == alone
    else:
        said = zip(answers, alone, strict=True)
        assert sum(isinstance(one, Answer) and answer.label != one.label for answer, one in said) > 10
