#!/usr/bin/env bash
# Train the full model on the GPUs of one node, or of several that start this at the same time.
#
#   bash launch/torchrun.sh --data tokens --out full_run                        one node
#   NODES=4 HEAD=node-0 bash launch/torchrun.sh --data tokens --out full_run    on each of four
#   DEVICES_PER_NODE=2 bash launch/torchrun.sh --size proxy --device cpu        a rehearsal
#
# What follows goes to train.py. HEAD is a node that all can reach, where they meet.
set -euo pipefail

NODES="${NODES:-1}"
DEVICES_PER_NODE="${DEVICES_PER_NODE:-gpu}" # gpu: all that a node has
HEAD="${HEAD:-localhost}"
PORT="${PORT:-29400}"
JOB="${JOB:-train}"
OPTIONS=(--size full --parallel fsdp --grad-checkpoint full)
BEGIN=()

# A run that goes on has weights of its own.
for option in "$@"; do
    if [ "$option" = --resume ]; then
        BEGIN=()
    fi
done

code="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
exec torchrun \
    --nnodes "$NODES" \
    --nproc-per-node "$DEVICES_PER_NODE" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$HEAD:$PORT" \
    --rdzv-id "$JOB" \
    "$code/train.py" "${OPTIONS[@]}" ${BEGIN[@]+"${BEGIN[@]}"} "$@"
