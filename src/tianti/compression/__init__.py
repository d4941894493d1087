"""Make a trained model small and runnable: export, adopt, quantise, put a head on, measure."""

from tianti.compression.adopt import Adopted, Padding, adopt
from tianti.compression.download import measure_download
from tianti.compression.export import export_onnx
from tianti.compression.foreign import read_foreign, trace_module
from tianti.compression.head import attach_head
from tianti.compression.litert import export_litert
from tianti.compression.parity import Parity, check_parity, compare
from tianti.compression.quantize import quantize
from tianti.compression.scales import row_scales
from tianti.compression.tables import read_word_table

__all__ = [
    "Adopted",
    "Padding",
    "Parity",
    "adopt",
    "attach_head",
    "check_parity",
    "compare",
    "export_litert",
    "export_onnx",
    "measure_download",
    "quantize",
    "read_foreign",
    "read_word_table",
    "row_scales",
    "trace_module",
]
