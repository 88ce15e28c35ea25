#!/usr/bin/env bash
# Start a real Slurm of one node on this machine, as root, from Debian's or Ubuntu's packages: no systemd, no control
# groups, no accounting. State and logs go to the folder given; /etc/slurm/slurm.conf is this script's, and a machine that
# has another one is left alone (inside a job, the plug-in forgets SLURM_CONF).
#
#     start_slurm.sh FOLDER [CPUS]
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cpus=${2:-2}
configuration=/etc/slurm/slurm.conf
marker="# Written by start_slurm.sh of a test."

if [ -e "$configuration" ] && [ "$(head -n 1 "$configuration")" != "$marker" ]; then
    echo "$configuration is another cluster's: run this test on a machine without Slurm" >&2
    exit 1
fi
command -v slurmctld munged >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge
} >&2

if ! munge -n >/dev/null 2>&1; then
    [ -s /etc/munge/munge.key ] || (umask 377 && head -c 1024 /dev/urandom >/etc/munge/munge.key)
    mkdir -p /run/munge
    chown munge: /etc/munge/munge.key /run/munge
    runuser -u munge -- munged
fi

host=$(hostname -s)
memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p "$folder"/{state,spool,log}
cat >"$configuration" <<CONF
$marker
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=3600
KillWait=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld
sleep 2
slurmd
for _ in $(seq 30); do
    [ "$(sinfo -h -o %T)" = idle ] && exit 0
    sleep 1
done
sinfo >&2
echo "the node of this Slurm does not become idle; see $folder/log" >&2
exit 1
