"""What launchers for clusters say when they cannot start jobs, or one of these died, in a sentence."""

import re
from importlib.util import find_spec

_EXTRAS = {
    "hydra_joblib_launcher": "joblib",
    "hydra_submitit_launcher": "slurm",
    "hydra_ray_launcher": "ray",
}
_SBATCH = re.compile(r"^sbatch: error: (.*)$", re.MULTILINE)
_WITHOUT_RESULT = re.compile(r"Job (\S+) .*\n.*\(state: ([^)]*)\)")
_TRACE = re.compile(r"\n-{10,}\n(.*?)\n-{10,}\n", re.DOTALL)


def missing_extra(target: str) -> str | None:
    """Say what to install for the launcher of class `target`; None if nothing is missing."""
    package = ".".join(target.split(".")[:2])
    extra = _EXTRAS.get(package.rpartition(".")[2])
    if extra is None or find_spec(package) is not None:
        return None
    return (
        f"hydra/launcher: {package.rpartition('.')[2]} is not installed. "
        f"Install it: pip install 'hydra-budget-sweeper[{extra}]'"
    )


def refusal(error: Exception) -> str | None:
    """Say why no job can be started here, whatever is tried; None where a job died."""
    said = str(error)
    if said.startswith("sbatch: error:"):
        reason = _SBATCH.findall(said)[0].strip()
        return (
            f"Slurm does not take the workers' jobs: {reason}. Change hydra.launcher.partition, "
            "account, qos, timeout_min or what else it names; sinfo shows what there is."
        )
    if 'Could not detect "srun"' in said:
        return (
            "hydra/launcher=slurm: there is no srun here. Start the sweep where jobs can be "
            "submitted, such as a login node."
        )
    if isinstance(error, ConnectionError) and "Ray" in said:
        return (
            "hydra/launcher=ray_cluster: no Ray cluster answers. Start one (ray start --head), or "
            "name one that runs: hydra.launcher.ray.init.address=HOST:6379"
        )
    return None


def death(error: BaseException) -> str:
    """Say in a line what a launcher reports of a job that died."""
    said = str(error).strip()
    if found := _WITHOUT_RESULT.match(said):
        return f"Slurm ended job {found[1]}: {found[2]}"
    trace = _TRACE.search(said)
    lines = trace[1].strip().splitlines()[-1:] if trace else said.splitlines()[:1]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
