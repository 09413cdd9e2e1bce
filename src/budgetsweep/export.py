"""`budgetsweep export`: a trained network as ONNX, torch.export, int8 and C, checked."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from budgetsweep.arguments import place
from budgetsweep.errors import UserError
from budgetsweep.exporting import C_FORMATS, FORMATS

HELP = """\
examples:
  budgetsweep export multirun/demo
  budgetsweep export outputs/shapes --format onnx --output for-the-phone
  budgetsweep export outputs/shapes --format c c_int8

Every file takes `pixels`, float32 (batch, channels, size, size) in 0-1, and gives
`log_probabilities` (batch, classes): subtracting data.mean and dividing by data.std are part of the
exported network, and the batch may have any size.

  onnx   network.onnx       float32; compared with PyTorch through onnxruntime
  torch  network.pt2        float32, for torch.export.load; compared with PyTorch
  int8   network.int8.onnx  weights and activations in 8 bits, calibrated on training images;
                            the accuracy it costs is measured on the validation images

All are compared on validation images, or on training images where the run held none out; the test
set is never read. The parameters are counted in the exported program, and must be as many as the
run's. In ONNX files, batch norm that directly follows a convolution is then folded into it, so that
they store fewer numbers. export.json keeps all that is printed.

  c       network.c       float32 C source without dynamic memory, for one image at a time
  c_int8  network.int8.c  the same of the 8-bit network

The last two are not among "all": they need the c extra and a C compiler, by which they are compiled, run
and compared. How much RAM and flash they take is printed beside what a budget counts.

More: docs/own-data.md#export, docs/microcontroller.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "budgetsweep export",
        description="Write a trained network for use elsewhere, and check what was written.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("run", type=place, help="a finished run's folder, or a sweep's: its winner")
    p.add_argument(
        "--format",
        nargs="+",
        choices=[*FORMATS, *C_FORMATS, "all"],
        default=["all"],
        help="default: all, which are onnx, torch and int8",
    )
    p.add_argument(
        "--output", type=place, metavar="DIR", help="default: export/ in the run's folder"
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Export and print the figures."""
    args = parser().parse_args(argv)
    from budgetsweep.exporting.exported import describe  # torch loads only now, not for --help
    from budgetsweep.exporting.exporter import export
    from budgetsweep.network.saved import load_run

    formats = [f for f in FORMATS if f in args.format or "all" in args.format]
    formats += [f for f in C_FORMATS if f in args.format]
    # The exporter's and quantizer's progress; what matters raises.
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        run = load_run(args.run)
        folder = args.output or run.folder / "export"
        print(describe(run, export(run, formats, folder), folder))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
