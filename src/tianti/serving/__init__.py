"""The HTTP node for edge and cloud (and device): every dialect on one port; `make_app` for another ASGI server."""

from tianti.serving.build import make_app
from tianti.serving.serve import serve
from tianti.serving.settings import Settings

__all__ = ["Settings", "make_app", "serve"]
