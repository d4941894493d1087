"""Exact answers that are kept: for whom, how long, how many, and never a text."""

import gc
import random
import tracemalloc
from typing import Any

import msgspec
import pytest

from tests.router.virtual import answer_of
from tianti.protocols.infer import InferRequest
from tianti.router import Answer, Terms
from tianti.serving.answers import Answers, give_again
from tianti.spec import DEGRADED, Prediction, Probabilities, Reason, Said, Tier

TERMS = Terms(Tier.EDGE, 0.5, 0.01, "certificate", True, 0.5)
ASKED = InferRequest(texts=("?",), point=0.01, passed_by=Tier.DEVICE)
HERE = Answer("up", 0.9, Probabilities.of({"up": 0.9}), "p", False, 3, 1)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def kept_under(asked: InferRequest, terms: Terms) -> bool:
    """Is an answer that was given under ASKED and TERMS found under these?"""
    answers = Answers(Tier.EDGE, 10, Clock())
    answers.keep(answers.key("lamp", ASKED, TERMS), answer_of(Tier.CLOUD), HERE)
    return answers.find(answers.key("lamp", asked, terms)) is not None


def test_an_answer_is_found_by_its_text_alone_and_only_under_its_terms() -> None:
    assert kept_under(ASKED, TERMS)
    for asked in ({"point": 0.02}, {"point": None}, {"passed_by": None}):
        assert not kept_under(msgspec.structs.replace(ASKED, **asked), TERMS)
    for terms in ({"point": 0.005}, {"point": None}, {"covered": False}):  # pressure, an alarm
        assert not kept_under(ASKED, TERMS._replace(**terms))
    answers = Answers(Tier.EDGE, 10, Clock())
    texts = ["lamp", "lamp ", "Lamp", "", "lam", "\ud800"]
    assert len({answers.key(text, ASKED, TERMS) for text in texts}) == len(texts)


def test_a_digest_is_of_128_bits_and_tells_nobody_else_anything() -> None:
    one, other = (Answers(Tier.EDGE, 10, Clock()) for _ in range(2))
    assert len(one.key("lamp", ASKED, TERMS)) == 16
    assert one.key("lamp", ASKED, TERMS) != other.key("lamp", ASKED, TERMS)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("tier", [Tier.EDGE, Tier.CLOUD])
@pytest.mark.parametrize("certified", [True, False])
def test_only_what_is_answered_at_any_time_is_kept(reason: Reason, tier: Tier, certified: bool) -> None:
    answers = Answers(Tier.EDGE, 10, Clock())
    prediction = answer_of(tier, reason)
    decision = msgspec.structs.replace(prediction.decision, certified=certified, degraded=reason in DEGRADED)
    answers.keep(b"key", msgspec.structs.replace(prediction, decision=decision), HERE)
    exact = reason in (Reason.SCORE, Reason.TOP) and (certified or tier is Tier.EDGE)
    assert len(answers) == exact


def test_it_is_good_for_a_time() -> None:
    clock = Clock()
    answers = Answers(Tier.EDGE, 10, clock, ttl_s=60.0)
    answers.keep(b"key", answer_of(Tier.CLOUD), HERE)
    clock.now_s += 59.9
    assert answers.find(b"key") is not None  # which does not make it good for longer
    clock.now_s += 0.1
    assert answers.find(b"key") is None
    assert len(answers) == 0


def test_the_least_recently_used_goes_first() -> None:
    answers = Answers(Tier.EDGE, 3, Clock())
    for key in (b"a", b"b", b"c"):
        answers.keep(key, answer_of(Tier.CLOUD), HERE)
    assert answers.find(b"a") is not None
    answers.keep(b"d", answer_of(Tier.CLOUD), HERE)
    assert [key for key in (b"a", b"b", b"c", b"d") if answers.find(key)] == [b"a", b"c", b"d"]


def from_above(labels: int) -> Prediction:
    """As it is decoded: nothing of it is anybody else's."""
    chances = {f"a label, number {random.random()}": random.random() for _ in range(labels)}
    made = msgspec.structs.replace(answer_of(Tier.CLOUD), probabilities=Probabilities.of(chances))
    return msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Prediction)


@pytest.mark.parametrize("labels", [3, 150])
def test_what_is_kept_stays_within_its_bytes(labels: int) -> None:
    most_bytes = 600_000
    answers = Answers(Tier.EDGE, 1_000_000, Clock(), most_bytes)
    gc.collect()
    tracemalloc.start()
    for number in range(1000):
        answers.keep(b"%16d" % number, from_above(labels), HERE._replace(probabilities=Probabilities.of({"up": 0.9})))
    gc.collect()
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.3 * most_bytes < used_bytes < most_bytes
    assert 0 < len(answers) < 1000  # the control: without the limit there would be all
    answers.clear()
    answers.keep(b"key", from_above(labels), None)
    assert len(answers) == 1


def test_an_answer_given_again_has_the_new_time_and_its_shares_add_up() -> None:
    seen = (Said(Tier.EDGE, 0.1, 2.0), Said(Tier.CLOUD, 0.9, 38.0))
    before: Any = answer_of(Tier.CLOUD)
    before = msgspec.structs.replace(before, decision=msgspec.structs.replace(before.decision, ms=40.0, seen=seen))
    given = give_again(before, 0.2)
    assert given.decision.ms == 0.2
    assert sum(said.ms for said in given.decision.seen) == pytest.approx(0.2)
    assert (given.label, given.scores, before.decision.ms) == (before.label, before.scores, 40.0)
