#!/usr/bin/env bash
# Checks that a long run does not leak memory or open files: runs 300 epochs on a tenth of the training batches, and compares
# resident memory and open files after epoch 10 and at the end.
#
#   scripts/long_run.sh [OPTIONS]
#
# OPTIONS are those of `islp-mnist train` that this script does not set itself. Exit code: 0 if memory grew by no more than
# 5 % and no file stayed open, 1 otherwise.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
[[ ! -v output_dir ]] || failure=2 die "--output-dir: not accepted, because this script keeps no files"
if [[ -v data_dir ]]; then set_up libtorch; else set_up libtorch mnist; fi
build

epochs=300
say "training $epochs epochs, which takes some minutes"
output=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf -- "$output"' EXIT
"$program" train --epochs "$epochs" --limit-train-batches 0.1 --quiet --data-dir="${data_dir-$root/data}" \
  --output-dir="$output" --name long "${options[@]}" >/dev/null 2>"$output/log" &
pid=$!

# Sets `epoch` (of the newest row of metrics.csv), `kilobytes` and `files`; fails when the run is over.
sample() {
  epoch=$(tail -n 1 -- "$output/long/version_0/metrics.csv" 2>/dev/null | cut -d, -f1)
  [[ $epoch =~ ^[0-9]+$ ]] || epoch=-1
  kilobytes=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
  files=$(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)
  [[ -n $kilobytes ]] && ((files > 0))
}

# Over ten early and ten late epochs: the maximum memory, and the minimum of open files, because writing an epoch's files
# opens some for a moment. The last epoch is left out, because the run ends in it.
early_kilobytes=0 early_files=1000000 late_kilobytes=0 late_files=1000000
while sample; do
  if ((epoch >= 10 && epoch < 20)); then
    ((kilobytes <= early_kilobytes)) || early_kilobytes=$kilobytes
    ((files >= early_files)) || early_files=$files
  elif ((epoch >= epochs - 12 && epoch < epochs - 2)); then
    ((kilobytes <= late_kilobytes)) || late_kilobytes=$kilobytes
    ((files >= late_files)) || late_files=$files
  fi
  sleep 0.02
done
wait "$pid" || die "the run failed: $(tail -n 1 -- "$output/log")"
((early_kilobytes > 0 && late_kilobytes > 0)) || die "the run was too fast to be measured"

echo "after epoch 10: $((early_kilobytes / 1024)) MiB resident, $early_files open files"
echo "before the end, epoch $epochs: $((late_kilobytes / 1024)) MiB resident, $late_files open files"
((late_kilobytes * 100 <= early_kilobytes * 105)) || die "the run's memory keeps growing"
((late_files <= early_files)) || die "the run leaves files open"
