"""A trained network as files for use elsewhere, each checked against PyTorch."""

FORMATS = ("onnx", "torch", "int8")
C_FORMATS = ("c", "c_int8")  # to be asked for: they need a generator and a compiler
