"""Stage `certify`: score heads on the tuning third, operating points proven on the other calibration rows.

Not here: the statistics (`certificate`), what leaves of a row (`leaving`). Invariants: certify rows are read here and
for nothing else; what the tiers above the device see of them is what would leave.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.certificate import Groups, agreement, certify, find_usual, fit_head, judged, order_points, some
from tianti.data import Prepared, Row, read_prepared, row_key
from tianti.package import bind, read_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.leaving import Leavings, hold, leave
from tianti.pipeline.readings import Outputs, Told, truth_of
from tianti.pipeline.stages.ask import asked, run_tier
from tianti.privacy import bind_policy, open_redactor
from tianti.spec import Certificate, Risk, Role, ScoreHead, Tier, Usual
from tianti.spec.ladder import LadderSpec
from tianti.spec.privacy import PrivacyPolicy
from tianti.store import canonical_json, sha256_bytes, write_atomic

CERTIFY = "certify"
CERTIFICATE = "certificate.json"
HEADS = "heads.json"
USUAL = "usual.json"
PRIVACY = "privacy.json"


def run(context: StageContext) -> None:
    """Write the heads, the certificate, and the policy that it is bound to."""
    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    packages = {tier: context.inputs[f"package-{tier}"] for tier in spec.tiers}
    policy = bind_policy(spec.privacy, context.base)
    redactor = open_redactor(policy, context.base)
    roles = (Role.TUNING, Role.CERTIFY)
    left = {role: leave(redactor, [row.text for row in prepared.rows[role]], context.progress) for role in roles}
    tuning, proving = (_run_all(prepared, role, context, left[role]) for role in roles)
    risk, alphas, prices = spec.certificate.risk, spec.certificate.alphas, spec.prices
    heads = fit_heads(tuning, _truth(prepared, Role.TUNING), risk, prepared.out_of_scope is not None)
    tuned, proven = ({tier: said[tier].read(heads[tier]) for tier in spec.tiers} for said in (tuning, proving))
    ordering, certifying = (hold(said, left[role].held) for said, role in ((tuned, roles[0]), (proven, roles[1])))
    points = order_points(judged(ordering, _truth(prepared, Role.TUNING), risk), alphas, prices.edge, prices.cloud)
    certificate = certify(
        points,
        judged(certifying, _truth(prepared, Role.CERTIFY), risk),
        alphas,
        spec.certificate.confidence_share,
        out_of_scope_rows=sum(row.label == prepared.out_of_scope for row in prepared.rows[Role.CERTIFY]),
        bound=_bound(packages, heads, prepared, policy),
        risk=risk,
        agreeing=some(agreement(certifying), ~left[Role.CERTIFY].held),
        groups=_groups(spec, prepared.rows[Role.CERTIFY]),
    )
    write_atomic(context.out / CERTIFICATE, canonical_json(certificate))
    write_atomic(context.out / HEADS, canonical_json(heads))
    write_atomic(context.out / PRIVACY, canonical_json(policy))
    run_here = {tier: said for tier, said in tuning.items() if isinstance(said, Outputs)}
    usual = {tier: find_usual(tuned[tier].score, said.tokens, said.unknown) for tier, said in run_here.items()}
    write_atomic(context.out / USUAL, canonical_json(usual))


def _groups(spec: LadderSpec, rows: Sequence[Row]) -> Groups:
    found: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for column in spec.certificate.groups:
        values = np.array([row.label if column == spec.data.label else row.group[column] for row in rows])
        found |= {(column, str(value)): values == value for value in np.unique(values)}
    return found


def read_certificate(folder: Path) -> tuple[Certificate, dict[Tier, ScoreHead]]:
    """What this stage wrote."""
    certificate = msgspec.json.decode((folder / CERTIFICATE).read_bytes(), type=Certificate)
    heads = msgspec.json.decode((folder / HEADS).read_bytes(), type=dict[Tier, ScoreHead])
    return certificate, heads


def read_policy(folder: Path) -> PrivacyPolicy:
    """What this stage wrote: what may leave, as the certificate assumes."""
    return msgspec.json.decode((folder / PRIVACY).read_bytes(), type=PrivacyPolicy)


def read_usual(folder: Path) -> dict[Tier, Usual]:
    """What the tuning rows look like to each tier whose model is run."""
    return msgspec.json.decode((folder / USUAL).read_bytes(), type=dict[Tier, Usual])


def _run_all(prepared: Prepared, role: Role, context: StageContext, left: Leavings) -> dict[Tier, Outputs | Told]:
    return {tier: run_tier(context, tier, prepared, prepared.rows[role], left) for tier in context.spec.tiers}


def fit_heads(
    tuning: Mapping[Tier, Outputs | Told], truth: NDArray[np.int64], risk: Risk, has_out_of_scope: bool
) -> dict[Tier, ScoreHead]:
    """The heads of all tiers; those below the cloud learn when they agree with it where that is the risk."""
    cloud = _fit_head(tuning[Tier.CLOUD], truth, has_out_of_scope)
    if risk == "disagree":
        truth = tuning[Tier.CLOUD].read(cloud).index
    below = (tier for tier in tuning if tier is not Tier.CLOUD)
    return {Tier.CLOUD: cloud, **{tier: _fit_head(tuning[tier], truth, has_out_of_scope) for tier in below}}


def _fit_head(said: Outputs | Told, truth: NDArray[np.int64], has_out_of_scope: bool) -> ScoreHead:
    if isinstance(said, Told):
        return ScoreHead()
    return fit_head(said.logits, said.tokens, said.unknown, truth, has_out_of_scope)


def _truth(prepared: Prepared, role: Role) -> NDArray[np.int64]:
    return truth_of(prepared.rows[role], prepared.labels, prepared.out_of_scope)


def _bound(
    packages: dict[Tier, Path], heads: dict[Tier, ScoreHead], prepared: Prepared, policy: PrivacyPolicy
) -> dict[str, str]:
    """What the certificate speaks about, by hash: another model, head, policy or row makes it another certificate."""
    return {
        **bind({tier: read_package(folder).id for tier, folder in packages.items()}, heads, policy),
        **{
            f"rows.{role}": sha256_bytes(canonical_json(sorted(row_key(row) for row in prepared.rows[role])))
            for role in (Role.TUNING, Role.CERTIFY)
        },
    }


def _parts(spec: LadderSpec, base: Path) -> object:
    return spec.certificate, spec.prices, bind_policy(spec.privacy, base)


def certify_stage(spec: LadderSpec) -> Stage:
    """The stage that certifies the tiers of a spec."""
    return Stage(
        CERTIFY,
        run,
        needs=("prepare", *asked(spec), *(f"package-{tier}" for tier in spec.tiers)),
        parts=_parts,
        rooms=(
            "certificate",
            "privacy",
            "runtimes",
            "package",
            "pipeline/leaving.py",
            "pipeline/readings.py",
            "pipeline/stages/ask.py",
        ),
    )
