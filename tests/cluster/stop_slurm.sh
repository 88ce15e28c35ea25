#!/usr/bin/env bash
# Stop the Slurm that start_slurm.sh started in this folder, and remove its configuration.
set -euo pipefail
for daemon in slurmd slurmctld; do
    [ ! -s "$1/$daemon.pid" ] || kill "$(cat "$1/$daemon.pid")" || true
done
rm -f /etc/slurm/slurm.conf
