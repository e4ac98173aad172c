#!/usr/bin/env bash
# Trains the notebook's MLP for 200 steps in PyTorch and in JAX, with the same initial weights, batches and dropout masks, and
# compares their traces: the example of docs/trace.md.
#
#   scripts/jax_trace.sh
#
# Writes torch.trace, feed.npz and jax.trace to --output-dir, which must be new, or to target/jax-trace, which is emptied first.
# JAX is fetched into .peers/ (0.5 GB). Exit code 1: from some step on the two are further apart than the tolerance.

source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
read_options "$@"
((${#options[@]} == 0)) || failure=2 die "${options[*]}: unknown option; the options are --data-dir and --output-dir"
folder=${output_dir-$target/jax-trace}
[[ -v output_dir ]] || rm -rf -- "$folder"
[[ ! -e $folder ]] || die "$folder already exists: name another --output-dir"
mkdir -p -- "$folder"

parts=(libtorch reference peers)
[[ -v data_dir ]] || parts+=(mnist)
set_up "${parts[@]}"
build
CUDA_VISIBLE_DEVICES='' run "$venv/bin/python" -I -X utf8 "$root/examples/trace_torch.py" "${data_dir-$root/data}" \
  "$folder/torch.trace" "$folder/feed.npz"
JAX_PLATFORMS=cpu run "$peers/bin/python" -I -X utf8 "$root/examples/trace_jax.py" "$folder/feed.npz" "$folder/jax.trace"
exec "$program" compare "$folder/torch.trace" "$folder/jax.trace" --rtol 1e-3
