#!/bin/sh
# Builds the native crates and puts each library where its package loads it:
#   cairn-engine            -> native/engine/cairn-engine.node           (target folder native/target)
#   cairn-engine --features reduced
#                           -> native/engine/cairn-engine-reduced.node   (target folder native/target-reduced)
#   cairn-script            -> native/script/cairn-script.node           (target folder native/target)
# The reduced level is for tests and has a target folder of its own, so that one can never be taken for the other.
# A build whose sources, compiler and output are unchanged is skipped. macOS is written for but untested.
#
# Usage: sh scripts/build-native.sh [engine] [reduced] [script]     default: all three
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH="$root/node_modules/.bin:$HOME/.cargo/bin:$PATH"
export PATH

case "$(uname -s)" in Darwin) extension=dylib ;; *) extension=so ;; esac
if command -v sha256sum >/dev/null 2>&1; then digest() { sha256sum "$@"; }; else digest() { shasum -a 256 "$@"; }; fi
command -v cargo >/dev/null 2>&1 || { echo "cargo is missing: run make setup, it names what to install." >&2; exit 1; }

what=${*:-engine reduced script}
for name in $what; do
  case "$name" in
    engine | reduced) crate=engine ;;
    script) crate=script ;;
    *) echo "Unknown native part \"$name\": one of engine, reduced, script." >&2; exit 2 ;;
  esac
  [ -f "native/$crate/Cargo.toml" ] || { echo "native/$crate/Cargo.toml does not exist: crate cairn-$crate can't be built." >&2; exit 1; }
done

sources=$( (
  cd native
  find . \( -name target -o -name target-reduced \) -prune -o -type f ! -name '*.node' ! -name '*.md' -print |
    LC_ALL=C sort | while IFS= read -r file; do digest "$file"; done
  rustc -vV
  printf '%s\n' "${RUSTFLAGS:-}"
) | digest | cut -d' ' -f1)

mkdir -p .cache/native
stamp() { printf '%s %s\n' "$sources" "$(digest "$1" | cut -d' ' -f1)"; }
fresh() { [ -f "$1" ] && [ -f ".cache/native/$2" ] && [ "$(cat ".cache/native/$2")" = "$(stamp "$1")" ]; }
# place <built library> <output> <stamp name>: renamed into place, so a process that has the old one mapped is undisturbed.
place() {
  cp "$1" "$2.new"
  mv -f "$2.new" "$2"
  stamp "$2" >".cache/native/$3"
  echo "built $2"
}

# Crates that go into one target folder are built by one command, so that cargo unifies their features the same way each time.
full="" outputs=""
for name in $what; do
  case "$name" in
    engine) fresh native/engine/cairn-engine.node engine || { full="$full -p cairn-engine"; outputs="$outputs engine"; } ;;
    script) fresh native/script/cairn-script.node script || { full="$full -p cairn-script"; outputs="$outputs script"; } ;;
  esac
done
if [ -n "$full" ]; then
  # shellcheck disable=SC2086  # a list of words on purpose
  (cd native && CARGO_TARGET_DIR="$root/native/target" cargo build --release --locked $full)
  for name in $outputs; do
    place "native/target/release/libcairn_$name.$extension" "native/$name/cairn-$name.node" "$name"
  done
fi
for name in $what; do
  [ "$name" = reduced ] || continue
  fresh native/engine/cairn-engine-reduced.node reduced && continue
  (cd native && CARGO_TARGET_DIR="$root/native/target-reduced" cargo build --release --locked -p cairn-engine --features reduced)
  place "native/target-reduced/release/libcairn_engine.$extension" native/engine/cairn-engine-reduced.node reduced
done
echo "Native parts are up to date: $what."
