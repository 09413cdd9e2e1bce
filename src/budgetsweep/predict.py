"""`budgetsweep predict`: what a trained network says about a person's own images."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from budgetsweep.arguments import place, positive
from budgetsweep.errors import UserError

HELP = """\
examples:
  budgetsweep predict outputs/shapes photo.png
  budgetsweep predict multirun/demo new/*.png --top 1 --json

The images may have any size and be grey, colour or transparent. They are padded to a square with
the colour of their border and resized, as in training. For data=image_folder and cifar10 that is
all, since your images are expected to look like those the network learned from.

mnist, qmnist, emnist, fashion_mnist, kmnist, usps and digits are light drawings on a dark
background, of a fixed size and place. An image for a network trained on these is also

  inverted  if its background is light: if the median brightness of its border is above the middle
            between its darkest and its lightest pixel (--invert yes or no: always, never)
  centred   cut out, stretched to full contrast, scaled and centred as that dataset was made (MNIST:
            20x20 of 28x28 pixels, centre of mass in the middle), unless it already has the
            network's size (--centre yes or no: always, never)

One drawing an image, on an even background. The probabilities are the network's own; a picture of
something else gets high ones too. Exit code 1 if an image could not be read; the others are shown.

More: docs/own-data.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(
        "budgetsweep predict",
        description="Say what is on your own images, by a trained network.",
        epilog=HELP,
        formatter_class=formatter,
    )
    p.add_argument("run", type=place, help="a finished run's folder, or a sweep's: its winner")
    p.add_argument("images", type=place, nargs="+", metavar="image", help="image files")
    p.add_argument("--top", type=positive, default=3, metavar="N", help="classes shown (3)")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    choices = ("auto", "yes", "no")
    p.add_argument("--invert", choices=choices, default="auto", help="dark to light; see below")
    p.add_argument("--centre", choices=choices, default="auto", help="as the dataset; see below")
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Predict and print; exit with 1 if an image could not be read."""
    args = parser().parse_args(argv)
    from budgetsweep.network.saved import load_run  # torch loads only now, not for --help
    from budgetsweep.runs.prediction import predict_all, table

    try:
        results, failures = predict_all(
            load_run(args.run), args.images, top=args.top, invert=args.invert, centre=args.centre
        )
    except UserError as error:
        sys.exit(str(error))
    if args.json:
        print(_json([*results, *failures]))
    elif results:
        print(table(results))
    for failure in failures:
        print(failure["error"], file=sys.stderr)
    sys.exit(1 if failures else 0)


def _json(told: list[dict[str, Any]]) -> str:
    """Letters as they are, unless a file's name has bytes that are none."""
    text = json.dumps(told, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(told, indent=2)
    return text


if __name__ == "__main__":
    main()
