"""The HTTP node for edge and cloud (and device): Open Inference Protocol v2."""

from tianti.serving.serve import serve

__all__ = ["serve"]
