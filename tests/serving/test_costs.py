"""What a call costs is measured, and batches are used only where they change no answer and pay."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tianti.errors import RunError
from tianti.package import Release
from tianti.runtimes import Encoded, Output, Runtime, open_package
from tianti.serving.costs import SAME, Costs, batches_are_faithful, measure
from tianti.spec import Tier


class FakeRuntime:
    """Takes as long as `ms` of (texts, tokens) says, on its own clock; `step`: to whose multiples texts are padded.

    `leak`: how much a text's mates change it; `drift`: how much a length does that is no multiple of 16 (bfloat16).
    """

    labels, package = ("a", "b"), "p"

    def __init__(
        self,
        ms: Callable[[int, int], float],
        leak: float = 0.0,
        max_length: int = 64,
        batches: bool = True,
        drift: float = 0.0,
        step: int = 1,
    ) -> None:
        self.ms, self.leak, self.max_length, self.batches = ms, leak, max_length, batches
        self.drift, self.length_step = drift, step
        self.now_s = 0.0
        self.calls: list[tuple[int, int]] = []

    def clock(self) -> float:
        return self.now_s

    def run_rows(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        texts, tokens = len(rows), min(-(-max(map(len, rows)) // self.length_step) * self.length_step, self.max_length)
        self.calls.append((texts, tokens))
        self.now_s += self.ms(texts, tokens) / 1e3
        sums = np.array([sum(row) for row in rows], dtype=np.float32)
        mates = self.leak * (sums.sum() - sums)
        return np.stack([sums + mates + self.drift * (tokens % 16), -sums], axis=1)

    def run_ids(self, ids: Sequence[int]) -> NDArray[np.float32]:
        return self.run_rows([ids])[0]

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        return [self.check_ids([1 + ord(letter) % 5 for letter in text]) for text in texts]

    def check_ids(self, ids: Sequence[int]) -> Encoded:
        return Encoded(ids, 0, False)

    def run(self, text: str) -> Output:
        raise NotImplementedError


def in_company(texts: int, tokens: int) -> float:
    """A millisecond a call, and little a token."""
    return 1.0 + 1e-3 * texts * tokens


def one_by_one(texts: int, tokens: int) -> float:
    return 0.02 * texts * tokens


def measured(runtime: FakeRuntime, texts: Sequence[str] = ("abc", "defghij")) -> Costs:
    return measure(runtime, texts, runtime.clock)


def test_between_what_was_measured_it_is_on_a_line_and_beyond_in_proportion() -> None:
    costs = Costs((1, 4), (8, 16), [[1.0, 2.0], [2.5, 5.0]])
    assert (costs.most, costs.longest) == (4, 16)
    assert costs.call_ms(1, 8) == costs.call_ms(1, 3) == 1.0
    assert costs.call_ms(1, 12) == pytest.approx(1.5)
    assert costs.call_ms(2, 16) == pytest.approx(3.0)
    assert costs.call_ms(2, 12) == pytest.approx(1.5 + (3.75 - 1.5) / 3)
    assert costs.call_ms(4, 32) == pytest.approx(10.0)


def test_batches_grow_while_they_pay() -> None:
    costs = measured(FakeRuntime(in_company))
    assert costs.batches == (1, 2, 4, 8, 16, 32, 64)
    for texts, tokens in ((1, 8), (4, 32), (64, 64)):
        assert costs.call_ms(texts, tokens) == pytest.approx(in_company(texts, tokens))


def test_batches_stay_one_where_they_do_not_pay() -> None:
    runtime = FakeRuntime(one_by_one)
    assert measured(runtime).batches == (1,)
    assert max(texts for texts, _ in runtime.calls[-5:]) == 2  # larger ones were not tried


def test_batches_end_where_they_no_longer_pay() -> None:
    def up_to_eight(texts: int, tokens: int) -> float:
        return one_by_one(texts, tokens) * max(1 / texts, 1 / 8)

    assert measured(FakeRuntime(up_to_eight)).batches == (1, 2, 4, 8)


@pytest.mark.parametrize("leak", [0.0, 3e-3])
def test_batches_stay_one_where_they_change_answers(leak: float) -> None:
    """As dynamic int8 does, by about that much; and the same engine without it, as a control."""
    costs = measured(FakeRuntime(in_company, leak=leak))
    assert (costs.most == 1) == (leak > SAME)


@pytest.mark.parametrize(("step", "longest", "most"), [(16, 64, 64), (1, 64, 1), (8, 64, 1), (16, 40, 1), (16, 8, 64)])
def test_where_lengths_matter_those_that_do_not_are_padded_to(step: int, longest: int, most: int) -> None:
    """Controls: texts that are not padded, or to too little, or that fill the model to where it is no multiple."""
    assert measured(FakeRuntime(in_company, drift=1e-2, step=step, max_length=longest)).most == most


@pytest.mark.parametrize(("step", "most"), [(1, 64), (16, 1)])
def test_what_is_padded_alone_too_is_the_same_to_the_last_bit(step: int, most: int) -> None:
    assert measured(FakeRuntime(in_company, leak=1e-7, step=step)).most == most


def test_small_logits_have_to_be_as_much_alike() -> None:
    class Small(FakeRuntime):
        def run_rows(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
            return super().run_rows(rows) * np.float32(1e-3)

    assert measured(Small(in_company)).most == 64
    assert measured(Small(in_company, leak=1e-3)).most == 1


@pytest.mark.parametrize(("texts", "batches"), [((), True), (("abc", "de"), False)])
def test_batches_stay_one_where_nothing_shows_that_they_are_right_or_the_engine_has_none(
    texts: tuple[str, ...], batches: bool
) -> None:
    assert measured(FakeRuntime(in_company, batches=batches), texts).most == 1


def test_lengths_reach_the_longest_text_whatever_it_is() -> None:
    for longest, expected in ((4, (4,)), (8, (8,)), (9, (8, 9)), (64, (8, 16, 32, 64)), (100, (8, 16, 32, 64, 100))):
        runtime = FakeRuntime(in_company, max_length=longest)
        assert measured(runtime).lengths == expected
        assert {tokens for _, tokens in runtime.calls} >= {*expected}  # every shape has run once: it is warm


def test_what_would_take_too_long_is_not_tried() -> None:
    """A second a text: one text is timed at the shortest length, and expected in proportion beyond."""
    runtime = FakeRuntime(lambda texts, tokens: 125.0 * texts * tokens, max_length=512)
    costs = measured(runtime)
    assert costs.batches == (1,)
    assert costs.call_ms(1, 512) == pytest.approx(64_000)
    assert runtime.now_s < 60
    assert max(tokens for texts, tokens in runtime.calls if texts == 1) <= 21  # but for the faithfulness check's


def test_the_first_run_of_a_shape_does_not_count() -> None:
    """It allocates and compiles."""
    seen: set[tuple[int, int]] = set()

    def cold(texts: int, tokens: int) -> float:
        first = (texts, tokens) not in seen
        seen.add((texts, tokens))
        return in_company(texts, tokens) + (50.0 if first else 0.0)

    assert measured(FakeRuntime(cold)).call_ms(2, 16) == pytest.approx(in_company(2, 16))


@pytest.mark.parametrize("tier", [Tier.DEVICE, Tier.CLOUD])
def test_a_real_engine_in_float32_is_faithful(release: Release, tier: Tier) -> None:
    runtime: Runtime = open_package(release.package(tier))
    assert batches_are_faithful(runtime, ["lamp", "lamp lantern song", "nothing that it knows at all"])


def test_an_engine_that_fails_says_so() -> None:
    def fails(_texts: int, _tokens: int) -> float:
        raise RunError("no")

    with pytest.raises(RunError):
        measured(FakeRuntime(fails))
