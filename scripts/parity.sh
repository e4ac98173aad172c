#!/usr/bin/env bash
# Runs the notebook in Python and in Rust with the same options and compares every file and tensor they write.
#
#   scripts/parity.sh [--device cpu|cuda] [--cuda] [--trace] [OPTIONS]
#
# Both run on the CPU, or with --device cuda on the first GPU, the first of CUDA_VISIBLE_DEVICES if that is set. --cuda
# fetches libtorch with CUDA even without an NVIDIA driver.
#
# With --trace both sides record every training step. If they differ, both run again and keep the tensors around the first
# difference.
#
# It needs Python 3.11 or newer and, beyond what scripts/reproduce.sh needs, 5.5 GB of disk for the Python reference in
# .venv. Fetching that takes some minutes the first time. The 30 epochs of both sides take some five minutes.
#
# OPTIONS are those of `islp-mnist reproduce` except --generator, because Python draws from the device's own. The results go
# to OUTPUT/reference and OUTPUT/candidate, each with stdout as stdout.txt and the trace as run.trace; stderr is in a .log
# beside each folder. OUTPUT/report.html is the page of both. OUTPUT is --output-dir, which must not contain older results,
# or target/parity, which is emptied first. Exit code: 0 identical, 1 something differs, 2 could not compare.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
# If anything but --help or a signal ends the script before the comparison, it could not compare: exit code 2.
trap 'status=$?; stop || true; ((status == 0 || status > 128)) || status=2; exit "$status"' EXIT
trace='' device=cpu arguments=()
while (($#)); do
  case $1 in
  --trace) trace=1 ;;
  --device=*) device=${1#*=} ;;
  --device)
    (($# > 1)) || failure=2 die "--device: needs cpu or cuda after it"
    device=$2
    shift
    ;;
  --generator | --generator=*) failure=2 die "--generator: not accepted here, because Python draws from its device's own generator" ;;
  *) arguments+=("$1") ;;
  esac
  shift
done
read_options "${arguments[@]}"
case $device in
cpu) gpu='' ;;
cuda)
  nvidia_driver_is_there || failure=2 die "--device cuda: no NVIDIA driver found; leave it out to use the CPU"
  # Lightning would use all of them.
  gpu=${CUDA_VISIBLE_DEVICES:-0} gpu=${gpu%%,*}
  ;;
*) failure=2 die "--device $device: must be cpu or cuda" ;;
esac
[[ ${options[*]} != *--trace* ]] || failure=2 die "--trace takes no file here, and the script finds the steps to keep itself"

output=${output_dir-$target/parity}
if [[ -v output_dir ]]; then
  for side in reference candidate first; do
    [[ ! -e $output/$side ]] || die "$output/$side already exists: name another --output-dir, or move it elsewhere"
  done
fi

if [[ -v data_dir ]]; then set_up reference libtorch; else set_up reference libtorch mnist; fi
build

# Another build of libtorch may round differently.
ours=$(ldd "$program" | sed -n 's/.*libtorch_cpu\.so => \(.*\) (0x.*/\1/p')
theirs=$("$venv/bin/python" -I -c 'import importlib.util; print(*importlib.util.find_spec("torch").submodule_search_locations)')
for library in libtorch_cpu.so ${gpu:+libtorch_cuda.so}; do
  cmp -s -- "${ours%/*}/$library" "$theirs/lib/$library" ||
    die "$program and the Python reference load different builds of $library (${ours:-none found}, $theirs):" \
      "unset LIBTORCH and LIBTORCH_USE_PYTORCH, or move .libtorch and .venv elsewhere, and run again"
done

mkdir -p -- "$output"
if [[ ! -v output_dir ]]; then
  exec 8>"$output/lock"
  try_lock 8 || die "another parity run is using $output: give this run an --output-dir"
  rm -rf -- "$output"/{reference,candidate}{,.log} "$output/first" "$output/report.html"
fi

# run_side NAME COMMAND...: runs one side, and reports the time it took.
run_side() {
  local folder=$output/$1 log=$output/$1.log start=${EPOCHREALTIME/[.,]/}
  mkdir -- "$folder"
  say "$1: running (log in $log)"
  run "${@:2}" ${trace:+--trace "$folder/run.trace" "${kept[@]}"} \
    --data-dir="${data_dir-$root/data}" --output-dir="$folder" "${options[@]}" >"$folder/stdout.txt" 2>"$log" || {
    tail -n 3 -- "$log" >&2
    die "the $1 run failed; its log is $log"
  }
  tenths=$(((${EPOCHREALTIME/[.,]/} - start) / 100000))
  say "$1: $((tenths / 10)).$((tenths % 10)) s"
}

# The program runs first because it refuses wrong options at once. Lightning uses a GPU if it sees one, and otherwise the CPU.
run_both() {
  export CUDA_VISIBLE_DEVICES=$gpu
  run_side candidate "$program" reproduce --device "$device"
  # Isolated (-I), so that PYTHONPATH and other Python settings of the user have no effect.
  run_side reference "$venv/bin/python" -I -X utf8 "$root/scripts/notebook.py"
}

kept=()
run_both
if [[ $trace ]]; then
  # FROM..TO around the first difference; empty if tensors would not explain any.
  steps=$({ "$program" compare --json "$output/reference" "$output/candidate" 2>/dev/null || true; } | "$python" -c \
    'import json, sys; steps = json.load(sys.stdin)["steps_to_keep"]; print("{}..{}".format(*steps) if steps else "")')
  if [[ $steps ]]; then
    say "the traces differ; running both again to record the tensors of steps $steps (the first results are in $output/first)"
    mkdir -- "$output/first"
    mv -- "$output"/{reference,candidate}{,.log} "$output/first"
    kept=(--trace-steps "$steps")
    run_both
    if "$program" compare "$output/reference" "$output/candidate" >/dev/null 2>&1; then
      say "the second runs do not differ: the first difference did not recur"
      exec "$program" compare "$output/first/reference" "$output/first/candidate"
    fi
  fi
fi

# In $output, so that the page names the two sides by their folders.
data=$(cd -- "${data_dir-$root/data}" && pwd)
if (cd -- "$output" && "$program" report reference candidate -o report.html --data-dir="$data" --device "$device" >/dev/null)
then
  say "the page of both is $(printf %q "$output/report.html")"
else
  say "the page of both could not be made, see above"
fi
exec "$program" compare "$output/reference" "$output/candidate"
