#!/usr/bin/env bash
# Tests a study as an array job on a real Slurm: four tasks over eight seeds, one of them requeued midway, give the same
# study.csv as a study without Slurm, except for the seconds. A task that Slurm asks to stop requeues itself and resumes.
#
#   tests/slurm.sh
#
# Needs root, and Debian's slurm-wlm and munge. It sets up its own Slurm on this machine, in a temporary folder, and stops it
# at the end. Not part of scripts/test.sh. Exit code: 0 if the test passes, 1 if it fails, 2 if it cannot run.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD

say() { echo "slurm.sh: $*" >&2; }
cannot() {
  say "$@"
  exit 2
}
[[ $(id -u) == 0 ]] || cannot "needs root, to run slurmctld and slurmd"
for needed in sbatch slurmctld slurmd munged; do
  command -v "$needed" >/dev/null || cannot "needs $needed: apt-get install slurm-wlm munge"
done
! pgrep -x slurmctld >/dev/null && ! pgrep -x slurmd >/dev/null || cannot "Slurm is already running on this machine"

source scripts/setup.sh
read_options "$@"
set_up libtorch mnist
build

folder=$(mktemp -d)
pids=()
# Replaces the trap of setup.sh.
finish() {
  local status=$?
  if ((status != 0)); then
    tail -n 12 -- "$folder"/log/* "$folder"/task-* >&2 2>/dev/null || true
  fi
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  # runuser does not forward signals.
  [[ ! ${munged-} ]] || pkill -x munged || true
  wait 2>/dev/null || true
  rm -rf -- "$folder"
  exit "$status"
}
trap finish EXIT
mkdir "$folder"/{state,spool,log}

if ! pgrep -x munged >/dev/null; then
  mkdir -p /run/munge
  chown munge:munge /run/munge
  setsid runuser -u munge -- munged --foreground >"$folder/log/munged" 2>&1 &
  munged=1
fi
host=$(hostname -s)
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
SelectType=select/cons_tres
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
setsid slurmctld -D >"$folder/log/ctld.out" 2>&1 &
pids+=($!)
setsid slurmd -D -N "$host" >"$folder/log/slurmd.out" 2>&1 &
pids+=($!)

# wait_for WHAT COMMAND...: waits until the command succeeds, at most two minutes.
wait_for() {
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    ((++tries < 600)) || {
      say "timed out waiting for $what"
      exit 1
    }
    sleep 0.2
  done
}
node_is_idle() { [[ $(sinfo --noheader --format=%T) == idle ]]; }
wait_for "the node" node_is_idle

options=(--seeds 0..7 --epochs 4 --device cpu --data-dir "$root/data")
say "a study of eight seeds on Slurm, in four tasks"
job=$(ISLP_MNIST=$program sbatch --parsable --array=0-3 --output="$folder/task-%a" scripts/study.sbatch \
  "${options[@]}" --output-dir "$folder/slurm")
# The second task has the seeds 1 and 5. It is requeued in the middle of its first run.
first=$folder/slurm/runs/mlp/seed=1
has_checkpoint() { [[ -e $first/version_0/checkpoints/last.safetensors ]]; }
wait_for "a checkpoint of the second task" has_checkpoint
[[ $(squeue --noheader --array --jobs="${job}_1" --format=%T) == RUNNING && ! -e $first/result.json ]] || {
  say "the second task finished its first run before it could be requeued"
  exit 1
}
# start_again TASK: a requeued task waits two minutes before it runs again, unless its StartTime is changed. A task that runs
# again in the second in which it was stopped is killed as it starts: slurmd tells its credential from the revoked one by the
# second ("Job credential revoked").
start_again() {
  sleep 2
  scontrol update jobid="$1" StartTime=now
}
scontrol requeue "${job}_1"
is_requeued() { [[ $(squeue --noheader --array --jobs="${job}_1" --format=%T) == PENDING ]]; }
wait_for "the requeued task" is_requeued
say "the second task was requeued"
start_again "${job}_1"
# A squeue that gets no answer prints nothing either, but fails.
is_over() {
  local left
  left=$(squeue --noheader --jobs="$job" 2>/dev/null) && [[ ! $left ]]
}
wait_for "the end of the tasks" is_over
"$program" study --collect "$folder/slurm"

say "the same without Slurm"
"$program" study "${options[@]}" --output-dir "$folder/plain" --no-progress >/dev/null
column=$(head -n 1 "$folder/plain/study.csv" | tr , '\n' | grep -n -x seconds | cut -d: -f1)
without_seconds() { cut -d, --complement -f"$column" "$folder/$1/study.csv"; }
[[ $(wc -l <"$folder/plain/study.csv") == 17 ]] || {
  say "study.csv does not have 16 rows"
  exit 1
}
diff <(without_seconds plain) <(without_seconds slurm) || {
  say "the two study.csv differ"
  exit 1
}
# No run was trained twice: the requeued one was resumed in its folder.
begun=$(find "$folder/slurm/runs" -path '*/version_*/run.json' | wc -l)
[[ $begun == 16 ]] || {
  say "$begun runs were started, not 16"
  exit 1
}
restarts=$(scontrol show job "${job}_1" 2>/dev/null | grep -o 'Restarts=[0-9]*' || true)
say "the same study.csv, 16 runs (second task: ${restarts:-unknown})"

# Slurm sends this signal two minutes before the time limit.
say "a study that Slurm asks to stop"
job=$(ISLP_MNIST=$program sbatch --parsable --array=0 --output="$folder/asked" scripts/study.sbatch \
  --seeds 0 --model mlp --epochs 30 --device cpu --data-dir "$root/data" --output-dir "$folder/asked-to-stop")
first=$folder/asked-to-stop/runs/mlp/seed=0
wait_for "a checkpoint" has_checkpoint
scancel --signal=USR1 --batch "${job}_0"
is_pending() { [[ $(squeue --noheader --array --jobs="${job}_0" --format=%T) == PENDING ]]; }
wait_for "the task, requeued" is_pending
grep -q '^interrupted; ' "$folder/asked" || {
  say "the task was requeued, but not stopped by SIGUSR1"
  exit 1
}
start_again "${job}_0"
wait_for "the end of the task" is_over
[[ -e $first/result.json && $(find "$first" -path '*/version_*/run.json' | wc -l) == 1 ]] || {
  say "the requeued task did not resume its run:"
  cat "$folder/asked" >&2
  find "$first" >&2
  exit 1
}
say "it resumed its run"
