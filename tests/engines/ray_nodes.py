"""A Ray cluster of two nodes on loopback, in a process of its own: `python ray_nodes.py FOLDER`.

It writes its address to FOLDER/address when both nodes are up, kills the second once there is a
file FOLDER/kill, and ends with FOLDER.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any


def serve(folder: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster.add_node(include_dashboard=False, temp_dir=str(folder / "ray"), **small)
    second = cluster.add_node(**small)
    (folder / "half").write_text(cluster.address)
    (folder / "half").rename(folder / "address")
    try:
        while folder.exists() and os.getppid() != 1:
            if second is not None and (folder / "kill").exists():
                cluster.remove_node(second, allow_graceful=False)
                second = None
                (folder / "killed").touch()
            time.sleep(0.1)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    Path("/tmp/ray").mkdir(exist_ok=True)  # where Ray keeps the address of the last cluster
    serve(Path(sys.argv[1]))
