import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporaryRepository } from "./temporary-repository.ts";

/** Stands in for cargo: notes how it was called and writes libraries that say which build they are of. */
const CARGO = `#!/bin/sh
echo "$*" >>"$CALLS"
mkdir -p "$CARGO_TARGET_DIR/release"
for name in engine script; do
  for extension in so dylib; do echo "$name of $*" >"$CARGO_TARGET_DIR/release/libcairn_$name.$extension"; done
done
`;

function checkout(t: TestContext) {
  const root = temporaryRepository(t, {
    "native/Cargo.toml": "[workspace]",
    "native/engine/Cargo.toml": "[package]",
    "native/engine/src/lib.rs": "// one",
    "native/script/Cargo.toml": "[package]",
    "home/.cargo/bin/cargo": CARGO,
    "home/.cargo/bin/rustc": "#!/bin/sh\necho rustc 1.95.0\n",
  });
  for (const tool of ["cargo", "rustc"]) chmodSync(join(root, "home/.cargo/bin", tool), 0o755);
  mkdirSync(join(root, "scripts"));
  copyFileSync(join(import.meta.dirname, "../build-native.sh"), join(root, "scripts/build-native.sh"));
  const calls = join(root, "calls.txt");
  /** Builds, and returns the cargo calls of this build. */
  const build = (...parts: string[]) => {
    rmSync(calls, { force: true });
    const { status, stderr } = spawnSync("sh", [join(root, "scripts/build-native.sh"), ...parts], {
      encoding: "utf8",
      env: { ...process.env, HOME: join(root, "home"), CALLS: calls },
    });
    return { status, stderr, calls: existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : [] };
  };
  return { root, build };
}

test("builds the engine, its reduced level and the script checks, each into its place", (t) => {
  const { root, build } = checkout(t);
  const { status, stderr, calls } = build();
  assert.equal(status, 0, stderr);
  assert.deepEqual(calls, [
    "build --release --locked -p cairn-engine -p cairn-script",
    "build --release --locked -p cairn-engine --features reduced",
  ]);
  const text = (path: string): string => readFileSync(join(root, "native", path), "utf8");
  assert.doesNotMatch(text("engine/cairn-engine.node"), /reduced/);
  assert.match(text("engine/cairn-engine-reduced.node"), /^engine .*reduced/);
  assert.match(text("script/cairn-script.node"), /^script/);
});

test("skips what is unchanged, and builds again after a change of source or output", (t) => {
  const { root, build } = checkout(t);
  build();
  assert.deepEqual(build().calls, []);
  writeFileSync(join(root, "native/engine/src/lib.rs"), "// two");
  assert.equal(build().calls.length, 2);
  assert.deepEqual(build().calls, []);
  writeFileSync(join(root, "native/engine/cairn-engine.node"), "something else");
  assert.deepEqual(build().calls, ["build --release --locked -p cairn-engine"]);
  rmSync(join(root, "native/engine/cairn-engine-reduced.node"));
  assert.deepEqual(build().calls, ["build --release --locked -p cairn-engine --features reduced"]);
});

test("builds only the parts that are named", (t) => {
  assert.deepEqual(checkout(t).build("script").calls, ["build --release --locked -p cairn-script"]);
});

test("refuses an unknown part, and says which crate is absent before any build", (t) => {
  const { root, build } = checkout(t);
  assert.equal(build("quantum").status, 2);
  rmSync(join(root, "native/engine/Cargo.toml"));
  const { status, stderr, calls } = build();
  assert.equal(status, 1);
  assert.match(stderr, /native\/engine\/Cargo\.toml does not exist/);
  assert.deepEqual(calls, []);
});
