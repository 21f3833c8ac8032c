"""Training of Emberwatch's detectors: pictures in, an ONNX file and a manifest out."""

CLASSES = ("flame", "smoke")
FLAME, SMOKE = 0, 1
