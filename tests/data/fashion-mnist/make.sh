#!/usr/bin/env bash
# Regenerates the files in MNIST/raw/: the first hundred images of each set of Fashion-MNIST, from Debian's package
# dataset-fashion-mnist.
set -eu
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
package=$(mktemp -d)
trap 'rm -rf -- "$package"' EXIT
(cd "$package" && apt-get download dataset-fashion-mnist && dpkg -x ./*.deb .)

mkdir -p MNIST/raw
# first SET KIND HEADER-BYTES BYTES-EACH: writes the header with a count of 100, then 100 images or labels.
first() {
  local name=$1-$2-ubyte
  gunzip -c "$package/usr/share/datasets/fashion-mnist/$name.gz" >"$package/$name"
  {
    head -c 4 "$package/$name"
    printf '\0\0\0\144'
    tail -c +9 "$package/$name" | head -c "$(($3 - 8 + 100 * $4))"
  } >"MNIST/raw/$name"
}
for set in train t10k; do
  first $set images-idx3 16 784
  first $set labels-idx1 8 1
done
