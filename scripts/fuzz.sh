#!/usr/bin/env bash
# Coverage-guided fuzzing of the readers of files: idx, safetensors (weights and checkpoints), metrics_csv and trace.
#
#   scripts/fuzz.sh [SECONDS | --build]
#
# Fuzzes each of the four for SECONDS (default: 20), starting from what earlier runs found in fuzz/corpus/. If an input
# crashes a reader, hangs it or makes it allocate more than 64 MB, the input is in fuzz/artifacts/ and the exit code is 1.
# cargo-fuzz is fetched into .cargo-fuzz/. --build only fetches it and builds the fuzz targets.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
seconds=${options[0]-20}
[[ $seconds =~ ^([1-9][0-9]*|--build)$ && ${#options[@]} -le 1 && ! -v data_dir && ! -v output_dir ]] ||
  failure=2 die "give a number of seconds, --build, or nothing"

set_up libtorch
[[ $seconds == --build ]] || build
cd -- "$root"
version=0.13.2 cargo_fuzz=$root/.cargo-fuzz/bin/cargo-fuzz
if [[ $("$cargo_fuzz" --version 2>/dev/null) != "cargo-fuzz $version" ]]; then
  say "fetching cargo-fuzz $version into .cargo-fuzz"
  run cargo install --quiet --locked --debug --root "$root/.cargo-fuzz" --target-dir "$target/cargo-fuzz" --version "$version" cargo-fuzz
fi

# cargo-fuzz passes options that only a nightly compiler accepts; this makes the stable one accept them.
export RUSTC_BOOTSTRAP=1
run "$cargo_fuzz" build --target-dir "$root/fuzz/target" || die "the fuzz targets could not be built, see above"
[[ $seconds != --build ]] || exit 0

# Prints a number as four big-endian bytes.
word() { printf "\\x$(printf '%08x' "$1" | sed 's/../&\\x/g; s/\\x$//')"; }

# part FILE START LENGTH
part() { dd if="$1" bs=1 skip="$2" count="$3" status=none; }

# Writes the inputs that the fuzzer starts from: real files, as small as possible.
seeds() {
  local raw=tests/data/fashion-mnist/MNIST/raw count run
  mkdir -p fuzz/corpus/{idx,safetensors,metrics_csv,trace}
  for count in 1 2; do
    {
      printf "\\x$(printf '%02x' $((8 + count)))"
      word 2051 && word $count && word 28 && word 28
      part $raw/train-images-idx3-ubyte 16 $((784 * count))
      word 2049 && word $count
      part $raw/train-labels-idx1-ubyte 8 $count
    } >fuzz/corpus/idx/$count-images
  done
  run=$("$program" train --model mlr --epochs 1 --quiet --threads 1 --data-dir tests/data/fashion-mnist \
    --output-dir fuzz/corpus/run --trace fuzz/corpus/run.trace --trace-steps 0..0 --batch-size 40 2>/dev/null)
  cp "$run/model.safetensors" fuzz/corpus/safetensors/weights
  cp -L "$run/checkpoints/last.safetensors" fuzz/corpus/safetensors/checkpoint
  local header='{"linear.1.bias":{"dtype":"F32","shape":[10],"data_offsets":[0,40]}}'
  {
    printf "\\x$(printf '%02x' ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header"
    head -c 40 /dev/zero
  } >fuzz/corpus/safetensors/tensor
  { head -n 9 "$run/metrics.csv" && printf '\xff' && head -n 8 "$run/metrics.csv"; } >fuzz/corpus/metrics_csv/run
  { head -n 12 output/MNIST/version_0/metrics.csv && printf '\xff' && head -n 12 output/MNIST_MLR/version_0/metrics.csv; } \
    >fuzz/corpus/metrics_csv/reference
  # Without the largest tensors, which would make every input slow.
  {
    sed -E 's/"data":"[^"]{2000,}"/"data":""/g' fuzz/corpus/run.trace && printf '\xff' && sed -E '2s/[0-9a-f]{16}/0&/2; s/"data":"[^"]{2000,}"/"data":""/g' fuzz/corpus/run.trace
  } >fuzz/corpus/trace/run
  rm -rf fuzz/corpus/run fuzz/corpus/run.trace
}
seeds

for name in idx safetensors metrics_csv trace; do
  log=fuzz/target/$name.log
  # libtorch keeps memory until the end, which is not a leak.
  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 run "$cargo_fuzz" run --target-dir "$root/fuzz/target" "$name" -- \
    -max_total_time="$seconds" -timeout=60 -malloc_limit_mb=64 -print_final_stats=1 -print_funcs=0 -verbosity=0 \
    >"$log" 2>&1 ||
    {
      tail -n 50 "$log" >&2
      die "$name failed; the input is in fuzz/artifacts/$name/, the whole report in $log"
    }
  say "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s, none failed"
done
