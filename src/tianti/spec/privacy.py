"""What may leave a node, by type of personal data: PrivacySpec, as ladder.yaml says it, and PrivacyPolicy, as a release
carries it.

Not here: finding and replacing (`privacy`), asking before a text leaves (`router`).
Invariant: a secret is never allowed to leave.
"""

from typing import Annotated, Literal

import msgspec

Handling = Literal["local_only", "redact", "allow"]
"""local_only: a text that has it is answered where it is. redact: a placeholder leaves for it. allow: it leaves."""

SECRETS = frozenset({"api_key", "private_key", "token", "url_credentials"})
"""Types that never leave and are never restored."""

TYPES = SECRETS | {
    "bank_card",
    "email",
    "iban",
    "id_card",
    "id_card_unverified",  # eighteen digits of an ID card whose check digit is wrong
    "ip",
    "phone",
    "plate",
    "us_ssn",
    "uscc",
}
"""What is found without a detector of one's own."""

TypeName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,30}\Z")]
Region = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]


class DetectorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's own detector: `use` is `module:function`, `types` are what it may find."""

    use: str
    types: tuple[TypeName, ...]


class PrivacySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`types` says what is done with each type, `default` with the others.

    `regions` (ISO 3166-1 alpha-2) are those whose phone numbers are known without a country code.
    """

    default: Handling = "redact"
    types: dict[TypeName, Handling] = {}
    regions: tuple[Region, ...] = ("CN", "US")
    own: tuple[DetectorSpec, ...] = ()


class BoundDetector(msgspec.Struct, frozen=True, kw_only=True):
    """A user's own detector as a release names it; `sha256` is of its code and of what it says it consists of."""

    use: str
    types: tuple[TypeName, ...]
    sha256: str


class PrivacyPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a release says of leaving; the certificate is bound to it.

    `rules` is the version of the built-in detectors (`privacy.RULES`) that the certificate was computed with.
    """

    rules: int
    default: Handling
    types: dict[TypeName, Handling]
    regions: tuple[Region, ...]
    own: tuple[BoundDetector, ...] = ()

    def handling(self, kind: str) -> Handling:
        """What is done with a type; a secret is redacted at least, whatever the policy says."""
        said = self.types.get(kind, self.default)
        return "redact" if kind in SECRETS and said == "allow" else said
