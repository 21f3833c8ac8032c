"""Static int8: QDQ, unsigned activations, signed weights per channel, calibrated on train pictures.

It pays on dense nets. On the depthwise SiLU nano it costs time: measure before shipping.
"""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from .letterbox import letterbox
from .pack import Store


class _Pictures(CalibrationDataReader):
    def __init__(self, store: Store, count: int, height: int, width: int, seed: int):
        chosen = np.random.default_rng(seed).permutation(store.of_split("train"))[:count]
        self._left = iter(letterbox(store.pixels(int(i)), height, width)[0] for i in chosen)

    def get_next(self) -> dict | None:
        canvas = next(self._left, None)
        return None if canvas is None else {"images": np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)}


def quantise(source: Path, target: Path, store: Store, pictures: int = 32, keep_first: int = 9, percentile: float = 99.999, seed: int = 0) -> None:
    """Writes the int8 file. The first convolutions stay fp32: folded batch norm left them a few very wide channels.

    Percentile calibration keeps a histogram per tensor in memory: 32 pictures are enough.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    convolutions = [n.name for n in model.graph.node if n.op_type == "Conv"]
    quantize_static(str(prepared), str(target), _Pictures(store, pictures, height, width, seed), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["Conv"],
                    nodes_to_exclude=convolutions[:keep_first], calibrate_method=CalibrationMethod.Percentile,
                    extra_options={"CalibPercentile": percentile})
    prepared.unlink()
