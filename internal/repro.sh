#!/bin/sh
# Builds the packages of the last commit twice, in folders of different lengths and
# with caches of their own, and compares every byte. Run by `make repro`.
#   repro.sh ARCHITECTURES TARGETS; empty: those of two routers
set -eu

arch=${1:-}
targets=${2:-}
if [ -z "$arch" ]; then
	arch=mips_24kc,aarch64_cortex-a53
	targets='mips arm64'
fi
cd "$(dirname "$0")/.."
version=$(git describe --always)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

for folder in one a/much/longer/path/to/two; do
	mkdir -p "$work/$folder"
	git archive HEAD | tar -x -C "$work/$folder"
	# The modules' cache is shared: go.sum fixes its content.
	GOCACHE="$work/$folder/.cache" make -C "$work/$folder" packages \
		VERSION="$version" RELEASE="$version" ARCH="$arch" TARGETS="$targets"
	(cd "$work/$folder/dist" && find . -type f | sort | xargs sha256sum) >"$work/$(basename "$folder").sums"
done

diff "$work/one.sums" "$work/two.sums"
echo "$(wc -l <"$work/one.sums") files are the same in both builds of $version:"
grep -E '/globalnet-[a-z0-9]+$|\.(ipk|apk)$' "$work/one.sums"
