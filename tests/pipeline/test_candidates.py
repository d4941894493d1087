"""What a search tries: the default first, and nothing against the spec."""

from tianti.pipeline.candidates import candidates, rounds
from tianti.spec import Tier
from tianti.spec.ladder import parse_spec

MINIMAL = "name: x\ndata: {train: a}\nsearch: {minutes: 1}\n"


def test_the_first_is_what_the_spec_says_and_budgets_stay() -> None:
    spec = parse_spec(MINIMAL + "device: {size: 1 MB}\n")
    found = candidates(spec, Tier.DEVICE)
    assert found[0] == spec.device
    assert len(found) == len(set(found)) > 4
    assert all(student.size == "1 MB" for student in found)


def test_what_the_spec_fixes_is_not_varied() -> None:
    bags = candidates(parse_spec(MINIMAL + "device: {student: bag}\n"), Tier.DEVICE)
    assert {student.student for student in bags} == {"bag"} and {student.width for student in bags} == {None, 256, 64}
    own = parse_spec(MINIMAL + 'device: {student: "mine:build", width: 32}\n')
    assert candidates(own, Tier.DEVICE) == [own.device]


def test_ways_that_only_make_it_smaller_are_tried_where_that_is_what_is_short() -> None:
    def ways(device: str) -> set[str]:
        found = candidates(parse_spec(f"{MINIMAL}device: {{{device}}}\n"), Tier.DEVICE)
        return {"int4" for each in found if each.matmul == "int4"} | {"prune" for each in found if each.prune}

    assert ways("latency: 2 ms") == set()
    assert ways("download: 1 MB") == {"int4", "prune"}
    assert ways("size: 1 MB, matmul: int8") == {"prune"}
    assert ways("size: 1 MB, engine: litert") == {"prune"}
    assert ways("size: 1 MB, student: bag") == set()


def test_an_edge_cuts_the_base_down_where_there_is_one() -> None:
    based = candidates(parse_spec(MINIMAL + "cloud: {base: hf://a/b}\n"), Tier.EDGE)
    assert [student.student for student in based] == [None, "encoder:3", "encoder:1"]
    scratch = candidates(parse_spec(MINIMAL), Tier.EDGE)
    assert all(student.student in (None, "transformer") for student in scratch)


def test_every_candidate_has_a_round_and_every_round_a_valid_spec() -> None:
    spec = parse_spec(MINIMAL)
    trials = rounds(spec)
    assert {trial.device for trial in trials} == set(candidates(spec, Tier.DEVICE))
    assert {trial.edge for trial in trials} == set(candidates(spec, Tier.EDGE))
    assert (trials[0].device, trials[0].edge) == (spec.device, spec.edge)
