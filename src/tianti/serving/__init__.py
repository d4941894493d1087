"""The HTTP node for edge and cloud (and device): Open Inference Protocol v2."""

from tianti.serving.serve import serve
from tianti.serving.settings import Settings

__all__ = ["Settings", "serve"]
