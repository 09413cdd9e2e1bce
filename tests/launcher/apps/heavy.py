"""Stands for a library that takes long to import; writes down which process imported it."""

import os
import time
from pathlib import Path

with open(os.environ["IMPORTS"], "a") as file:
    file.write(f"{os.getpid()}\n")
time.sleep(float(os.environ.get("IMPORT_SECONDS", "0")))

HERE = Path(__file__)
