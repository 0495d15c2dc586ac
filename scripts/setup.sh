#!/bin/sh
# Makes a fresh machine ready: names everything that is missing before any work starts, then installs the npm
# packages of the lock file. Debian and its kin are tested; macOS is written for but untested.
#
# Usage: sh scripts/setup.sh [--check | --quiet]
#   --check   only looks, installs nothing
#   --quiet   says nothing when everything is in place already
set -eu
cd "$(dirname "$0")/.."
PATH="$HOME/.cargo/bin:$PATH"
export PATH

node_floor=20
rust_floor=1.88
pinned_node=$(sed -n 's/^ *"node": "\([0-9][0-9.]*\)".*/\1/p' package.json)

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s\n' "$*"; }

# at_least <version> <floor>: compares major.minor.
at_least() {
  awk -v v="$1" -v f="$2" 'BEGIN { split(v, a, "."); split(f, b, "."); exit !(a[1] > b[1] + 0 || (a[1] == b[1] && a[2] + 0 >= b[2] + 0)) }'
}

# works <command...>: macOS ships stand-ins for cc and make that only offer to install the real ones.
works() { "$@" >/dev/null 2>&1 </dev/null; }

debian=""   # Debian packages that are missing
missing=""  # one line for each missing thing that Debian's packages don't give
lack() { missing="$missing  $1
      $2
"; }

# --- C toolchain: GMP and Bitcoin Core's script checks are built from source ----------------------------------
works cc --version && works c++ --version && works make --version || debian="$debian build-essential"
works m4 --version || debian="$debian m4"
have diff || debian="$debian diffutils"
have git || debian="$debian git"
# A pseudo-terminal for the tests of what asks a person.
have script || debian="$debian bsdutils"

# --- Node and npm ------------------------------------------------------------------------------------------------
node_ok=""
if have node && have npm; then
  at_least "$(node --version | sed 's/^v//')" "$node_floor" && node_ok=yes
fi
if [ -z "$node_ok" ]; then
  system=$(uname -s | tr '[:upper:]' '[:lower:]')
  case "$(uname -m)" in x86_64 | amd64) machine=x64 ;; aarch64 | arm64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
  release="node-v$pinned_node-$system-$machine"
  as=""; [ "$(id -u)" = 0 ] || as="sudo "
  lack "Node.js $node_floor or newer with npm (found: $(node --version 2>/dev/null || echo none))" \
    "curl -fsSL https://nodejs.org/dist/v$pinned_node/$release.tar.gz | ${as}tar -xz --strip-components=1 -C /usr/local"
fi

# --- Rust --------------------------------------------------------------------------------------------------------
if have rustc && have cargo; then
  rust=$(rustc --version 2>/dev/null | awk '{ print $2 }')
  if [ -z "$rust" ]; then
    lack "a default Rust toolchain" "rustup default stable"
  elif ! at_least "$rust" "$rust_floor"; then
    if have rustup; then lack "Rust $rust_floor or newer (found: $rust)" "rustup update stable"
    else lack "Rust $rust_floor or newer (found: $rust)" "curl -sSf https://sh.rustup.rs | sh -s -- -y"; fi
  fi
else
  lack "Rust $rust_floor or newer (found: none)" "curl -sSf https://sh.rustup.rs | sh -s -- -y"
fi

# --- What is missing ---------------------------------------------------------------------------------------------
install_debian=""
if [ -n "$debian" ]; then
  if have apt-get; then
    if [ "$(id -u)" = 0 ] && [ "${1:-}" != --check ]; then
      install_debian=yes
    elif [ "$(id -u)" = 0 ]; then
      lack "system packages:$debian" "apt-get update && apt-get install -y$debian"
    else
      lack "system packages:$debian" "sudo apt-get update && sudo apt-get install -y$debian"
    fi
  elif [ "$(uname -s)" = Darwin ]; then
    lack "the command line developer tools (cc, c++, make, m4, diff, git)" "xcode-select --install"
  elif have dnf; then
    lack "a C and C++ compiler, make, m4, diff, git, script" "sudo dnf install -y gcc gcc-c++ make m4 diffutils git util-linux-script"
  elif have pacman; then
    lack "a C and C++ compiler, make, m4, diff, git, script" "sudo pacman -S --needed base-devel git util-linux"
  elif have apk; then
    lack "a C and C++ compiler, make, m4, diff, git, script" "apk add build-base m4 diffutils git linux-headers util-linux-misc"
  else
    lack "a C and C++ compiler, make, m4, diff, git, script (util-linux)" "install them with this system's package manager"
  fi
fi
if [ -n "$missing" ]; then
  say "Missing on this machine; nothing was changed. Install with:" >&2
  [ -z "$install_debian" ] || say "  (the system packages$debian are installed by this script once the rest is here)" >&2
  printf '%s' "$missing" >&2
  say "Then run make setup again." >&2
  exit 1
fi
have cargo-clippy || say "Note: make check needs clippy: rustup component add clippy"
have rustfmt || say "Note: make check needs rustfmt: rustup component add rustfmt"
if [ "${1:-}" = --check ]; then say "Everything that setup needs is here."; exit 0; fi

if [ -n "$install_debian" ]; then
  say "Installing system packages:$debian"
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of words on purpose
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $debian >/dev/null
fi

# --- npm packages ------------------------------------------------------------------------------------------------
# The installed tree is compared with the lock file by content, so a second run costs nothing and never wipes
# a tree that is right. Versions come from the lock alone, so the npm that runs this may be 10 or 11, on Node 20 or newer.
installed() {
  [ -x node_modules/.bin/node ] && [ "$(node_modules/.bin/node --version 2>/dev/null)" = "v$pinned_node" ] && node -e '
    const fs = require("node:fs");
    const wanted = JSON.parse(fs.readFileSync("package-lock.json", "utf8")).packages;
    const found = JSON.parse(fs.readFileSync("node_modules/.package-lock.json", "utf8")).packages;
    const wrong = Object.entries(wanted).filter(([path, entry]) =>
      path.startsWith("node_modules/") && !entry.optional &&
      (found[path]?.version !== entry.version || !fs.existsSync(path)));
    process.exit(wrong.length === 0 ? 0 : 1);' 2>/dev/null
}
if installed; then
  [ "${1:-}" != --quiet ] || exit 0
  say "npm packages match the lock file."
else
  say "Installing npm packages from the lock file"
  # Engine warnings only say that the machine's own Node is older than the pinned one, which is what runs everything.
  npm ci --no-audit --no-fund --loglevel=error
  installed || {
    say "npm ci ended, but node_modules/.bin/node is not Node $pinned_node." >&2
    say "The package \"node\" fetches it in its install script: is ignore-scripts set? (npm config get ignore-scripts)" >&2
    exit 1
  }
fi
say "Ready: Node $(node_modules/.bin/node --version), $(rustc --version | cut -d' ' -f1,2). Next: make build, or make demo."
