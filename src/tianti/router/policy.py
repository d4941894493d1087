"""Which operating point a request is answered under, and which score a tier then needs.

Not here: proving a point (`certificate`), one request's way (`climb`).
Invariant: a node above the entry uses the point that travels with the request or a stricter one, never a laxer.
"""

from tianti.certificate import NEVER
from tianti.errors import UsageError
from tianti.spec import Certificate, Tier

DEFAULT_ALPHA = 0.01


def choose_point(certificate: Certificate) -> float | None:
    """The entry node's default: 1 %, or the nearest certified alpha below, or the smallest; None: none is certified."""
    return bind_point(certificate, DEFAULT_ALPHA) or min(certificate.certified_alphas, default=None)


def bind_point(certificate: Certificate, asked: float) -> float | None:
    """The laxest certified alpha that is not laxer than the one asked for; None: there is none."""
    return max((alpha for alpha in certificate.certified_alphas if alpha <= asked), default=None)


def check_point(certificate: Certificate, point: float) -> None:
    """Check a point that a person has chosen.

    Raises:
        UsageError: it is not certified.
    """
    if point not in certificate.certified_alphas:
        certified = ", ".join(f"{alpha:g}" for alpha in certificate.certified_alphas) or "none"
        raise UsageError(f"point: expected a certified alpha ({certified}), got {point!r}; leave it out")


def threshold_of(certificate: Certificate, tier: Tier, point: float | None) -> float:
    """The score from which a tier below the cloud answers at a point; without one everything goes up."""
    thresholds = None if point is None else certificate.thresholds(point)
    if thresholds is None:
        return NEVER
    device, edge = thresholds
    return device if tier is Tier.DEVICE else edge
