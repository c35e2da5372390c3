#!/usr/bin/env bash
# Train the full model on a Slurm cluster. From the folder that holds train.py:
#
#   sbatch launch/slurm.sh --data tokens --out full_run
#   sbatch launch/slurm.sh --data tokens --out full_run --resume    go on, on as many nodes as now
#
# The folders are on a disk that all nodes share. What a cluster asks for besides, such as a
# partition or an account, goes before the script's name.
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
# Three minutes before the time is up, training saves and ends.
#SBATCH --signal=TERM@180
set -euo pipefail

HEAD="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
NODES="$SLURM_NNODES"
JOB="$SLURM_JOB_ID"
export HEAD NODES JOB
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=150 # seconds to save in

srun --kill-on-bad-exit=1 bash "$SLURM_SUBMIT_DIR/launch/torchrun.sh" "$@"
