import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CairnError, decodeCanonical, policySchema, signedManifestSchema } from "@cairn/core";
import type { Questions } from "../src/questions.ts";
import { runCairn, temporaryFolder } from "./bench.ts";

/** Gives these answers in turn; one that is refused is told to `refusals`, and the next is given to the same question. */
function scripted(answers: readonly string[], refusals: string[]): Questions {
  const left = [...answers];
  const next = (): string => {
    const answer = left.shift();
    if (answer === undefined)
      throw new CairnError("closed", "nothing was made; run the command again to begin anew");
    return answer;
  };
  return {
    async text(_, initial, problem) {
      for (;;) {
        const typed = next();
        const answer = typed === "↵" ? initial : typed;
        const wrong = problem(answer);
        if (wrong === undefined) return answer;
        refusals.push(wrong);
      }
    },
    async choose(_, choices) {
      const answer = next();
      const chosen = choices.find(({ value }) => value === answer);
      assert.ok(chosen !== undefined, answer);
      return chosen.value;
    },
  };
}

test("cairn init on a terminal asks for the cluster, refuses what can't be, and makes it", async () => {
  const home = await temporaryFolder();
  const dir = join(home, "mine");
  const refusals: string[] = [];
  const answers = ["regtest", "not-a-url", "↵", "1", "4", "5", "↵", "much", "0.1btc", dir];
  const ran = await runCairn(["init"], { HOME: home }, { questions: scripted(answers, refusals) });
  assert.equal(ran.exit, 0, ran.stderr);
  assert.equal(refusals.length, 4, refusals.join("\n"));
  assert.match(refusals[0] ?? "", /no URL/);
  assert.match(refusals[2] ?? "", /from 2 to 4/);
  const { manifest } = decodeCanonical(signedManifestSchema, await readFile(join(dir, "manifest.cbor")));
  assert.deepEqual([manifest.network, manifest.members.length, manifest.threshold], ["regtest", 4, 3]);
  const policy = decodeCanonical(policySchema, await readFile(join(dir, "policy.cbor")));
  assert.equal(BigInt(policy.rolling24hMaxSats ?? 0), 10_000_000n);
  assert.match(await readFile(join(dir, "node-1", "cairn.toml"), "utf8"), /127\.0\.0\.1:3002/);
});

test("giving up makes nothing, and nobody is asked where options or --json are given", async () => {
  const home = await temporaryFolder();
  const dir = join(home, "mine");
  const gone = await runCairn(
    ["init", "--dir", dir],
    { HOME: home },
    { questions: scripted(["signet"], []) },
  );
  assert.equal(gone.exit, 75);
  assert.match(gone.stderr, /nothing was made/);
  await assert.rejects(readFile(join(dir, "manifest.cbor")), { code: "ENOENT" });
  const mute = { text: () => assert.fail("asked"), choose: () => assert.fail("asked") };
  for (const words of [
    ["init", "--json"],
    ["init", "--network", "regtest"],
  ]) {
    const ran = await runCairn(words, { HOME: home }, { questions: mute });
    assert.equal(ran.exit, 2, words.join(" "));
    assert.match(ran.stderr, /needs --network/);
  }
});

test("init puts each node's state where --storage says, one database a node, and never a password", async () => {
  const folder = await temporaryFolder();
  const init = (dir: string, ...words: readonly string[]) =>
    runCairn(
      [
        "init",
        "--network",
        "regtest",
        "--chain",
        "http://127.0.0.1:1",
        "--nodes",
        "2",
        "--dir",
        join(folder, dir),
        ...words,
      ],
      { XDG_CONFIG_HOME: folder },
    );
  const made = await init(
    "a",
    "--storage",
    "postgres://cairn@127.0.0.1/node_{node}",
    "--storage-password-file",
    "/p",
  );
  assert.equal(made.exit, 0, made.stderr);
  const config = await readFile(join(folder, "a", "node-2", "cairn.toml"), "utf8");
  assert.match(config, /url = "postgres:\/\/cairn@127\.0\.0\.1\/node_2"\npassword_file = "\/p"/);
  for (const url of ["postgres://cairn@127.0.0.1/one", "postgres://cairn:hunter2@127.0.0.1/{node}"]) {
    const refused = await init("b", "--storage", url);
    assert.equal(refused.exit, 78, refused.stderr);
    assert.doesNotMatch(refused.stderr, /hunter2/);
  }
});
