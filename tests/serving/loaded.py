"""Models without a server: releases put on desks as a node does."""

from tianti.package import Release
from tianti.router import Node
from tianti.serving.desk import Desk
from tianti.serving.engine import Engine
from tianti.serving.lane import Lane
from tianti.serving.models import Models, Version
from tianti.spec import Tier


def put(models: Models, tier: Tier, *releases: Release) -> None:
    """Releases of one model, newest first, without upstreams."""
    engine = Engine()
    desks = {release.id: Desk(Lane(Node(release, tier)), engine) for release in releases}
    versions = [Version(len(releases) - at, release.id) for at, release in enumerate(releases)]
    models.put(releases[0].record.name, versions, desks)
