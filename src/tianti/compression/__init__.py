"""Make a trained model small and runnable: export, quantise, put a head on, measure."""

from tianti.compression.download import measure_download
from tianti.compression.export import export_onnx
from tianti.compression.head import attach_head
from tianti.compression.parity import Parity, check_parity, compare, run_rows
from tianti.compression.quantize import quantize
from tianti.compression.scales import row_scales

__all__ = [
    "Parity",
    "attach_head",
    "check_parity",
    "compare",
    "export_onnx",
    "measure_download",
    "quantize",
    "row_scales",
    "run_rows",
]
