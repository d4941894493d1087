"""What a search tries: the default first, and nothing against the spec."""

from pathlib import Path

from tianti.pipeline.candidates import candidates, rounds
from tianti.pipeline.run import _key
from tianti.pipeline.stages import ladder_stages
from tianti.spec import Tier
from tianti.spec.parse import parse_spec

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


def test_an_edge_cuts_the_base_down_where_there_is_one_or_is_distilled() -> None:
    based = candidates(parse_spec(MINIMAL + "cloud: {base: hf://a/b}\n"), Tier.EDGE)
    assert [student.student for student in based] == [None, "encoder:3", "transformer", "encoder:1"]
    scratch = candidates(parse_spec(MINIMAL), Tier.EDGE)
    assert all(student.student in (None, "transformer") for student in scratch)


def test_every_candidate_has_a_round_and_every_round_a_valid_spec() -> None:
    spec = parse_spec(MINIMAL)
    trials = rounds(spec)
    assert {trial.device for trial in trials} == set(candidates(spec, Tier.DEVICE))
    assert {trial.edge for trial in trials} == set(candidates(spec, Tier.EDGE))
    assert (trials[0].device, trials[0].edge) == (spec.device, spec.edge)


def test_a_model_is_trained_and_packaged_once_however_many_rounds_it_is_in(tmp_path: Path) -> None:
    """Whatever the other tier's candidate is, and however many made-up texts that one wants."""
    (tmp_path / "a").write_text("", encoding="utf-8")
    spec = parse_spec(MINIMAL)
    keys: dict[str, set[str]] = {}
    for trial in rounds(spec):
        stages = {stage.name: stage for stage in ladder_stages(trial, tmp_path)}
        made: dict[str, str] = {}
        for name in stages:
            made[name] = _key(stages[name], trial, tmp_path, made)
        for tier, student in ((Tier.EDGE, trial.edge), (Tier.DEVICE, trial.device), (Tier.CLOUD, "")):
            keys.setdefault(f"{tier} {student}", set()).add(made[f"package-{tier}"])
    assert {len(found) for found in keys.values()} == {1}
    assert len(keys) == len(candidates(spec, Tier.EDGE)) + len(candidates(spec, Tier.DEVICE)) + 1


def test_what_is_fixed_for_a_transformer_keeps_other_students_out() -> None:
    cut = candidates(parse_spec(MINIMAL + "device: {prune: {neurons: 50%}}\n"), Tier.DEVICE)
    assert {student.student for student in cut} == {None}
