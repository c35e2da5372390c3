"""Start workers as an array of Slurm, or as processes where there is no Slurm: python THIS_FILE.

It needs `pip install submitit`; the output of each worker is in the folder `workers-log`.
"""

import subprocess
import sys

import submitit

COMMAND = ["metagen", "synth", "specs"]
OUT = "build"
WORKERS = 2
CORES = 1


def command(worker):
    """Return the command of a worker, from 1 on; one of a build has a shard and a folder."""
    own = ["--shard", f"{worker}/{WORKERS}", "--out", f"{OUT}/shard-{worker}"] if OUT else []
    return [*COMMAND[:2], *own, *COMMAND[2:]]


def run(worker):
    """Run a worker to its end; an error of it is an error of the job."""
    subprocess.run(command(worker), check=True)


def main():
    """Start all workers, wait, and return how many failed."""
    executor = submitit.AutoExecutor(folder="workers-log")
    executor.update_parameters(
        name="metagen",
        cpus_per_task=CORES,
        timeout_min=24 * 60,
        slurm_array_parallelism=WORKERS,
    )
    jobs = executor.map_array(run, range(1, WORKERS + 1))
    failed = [job for job in jobs if job.exception() is not None]
    for job in failed:
        print(f"worker failed, see {job.paths.stderr}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
