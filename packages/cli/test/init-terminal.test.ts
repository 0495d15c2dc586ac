import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { decodeCanonical, signedManifestSchema } from "@cairn/core";
import { runCairn, temporaryFolder } from "./bench.ts";
import { keys, Terminal } from "./terminal.ts";

/** Files whose every byte follows from what was asked for; in the others keys, tokens, times and nonces differ. */
const settled = new Set(["policy.cbor", "epoch"]);
const HEX_32 = /[0-9a-f]{64}/g;
const TOKEN = /(?<=token = ")[^"]+/;

/** The folder's entries with their modes and what in them is no secret, key, time or chance. */
async function contentsOf(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const described = await Promise.all(
    entries.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      const mode = ((await stat(path)).mode & 0o777).toString(8);
      return [relative(dir, path), `${mode} ${entry.isFile() ? await contentOf(path, entry.name, dir) : ""}`];
    }),
  );
  return Object.fromEntries(described.toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1)));
}

async function contentOf(path: string, name: string, dir: string): Promise<string> {
  const bytes = await readFile(path);
  if (settled.has(name)) return bytes.toString("hex");
  if (name.endsWith(".toml")) {
    return bytes.toString("utf8").replaceAll(dir, "DIR").replaceAll(HEX_32, "HEX").replace(TOKEN, "TOKEN");
  }
  if (name !== "manifest.cbor") return "";
  const { manifest } = decodeCanonical(signedManifestSchema, bytes);
  const { network, threshold, members, policy, policyVersion, modes, unsignedRequests, protocolVersions } =
    manifest;
  return JSON.stringify({
    network,
    threshold,
    members: members.map(({ index, name, addresses, api }) => ({ index, name, addresses, api })),
    policy,
    policyVersion,
    modes,
    unsignedRequests,
    protocolVersions,
    requesters: manifest.requesters.length,
  });
}

test("cairn init on a terminal asks again what was answered wrongly and makes what the same options make", {
  timeout: 240_000,
}, async () => {
  const home = await temporaryFolder();
  const dir = join(home, "mine");
  const terminal = new Terminal(["init"], home);
  try {
    await terminal.shows(/Which Bitcoin network\?/);
    terminal.type(keys.down);
    await terminal.shows(/public test network/);
    terminal.type(keys.enter);

    await terminal.shows(/Esplora endpoints/);
    terminal.type(keys.enter);
    await terminal.shows(/at least one is needed/);
    terminal.type("ftp://nowhere");
    terminal.type(keys.enter);
    await terminal.shows(/ftp:\/\/nowhere is no URL/);
    terminal.type(`${keys.clear}https://one.example/api https://two.example`);
    terminal.type(keys.enter);

    await terminal.shows(/How many nodes\?/);
    for (const wrong of ["1", "65", "-4", "five"]) {
      terminal.type(`${keys.clear}${wrong}`);
      terminal.type(keys.enter);
      await terminal.shows(/a whole number from 2 to 64/);
    }
    terminal.type(`${keys.clear}4`);
    terminal.type(keys.enter);

    await terminal.shows(/How many of them must sign together\?/);
    terminal.type(`${keys.clear}5`);
    terminal.type(keys.enter);
    await terminal.shows(/a whole number from 2 to 4/);
    terminal.type(`${keys.clear}3`);
    terminal.type(keys.enter);

    await terminal.shows(/The most that may be paid in 24 hours/);
    terminal.type("0.000000001btc");
    terminal.type(keys.enter);
    await terminal.shows(/finer than a satoshi/);
    terminal.type(`${keys.clear}0.1btc`);
    terminal.type(keys.enter);

    await terminal.shows(/Folder to make/);
    terminal.type(`${keys.clear}${dir}`);
    terminal.type(keys.enter);
    assert.equal(await terminal.exit(), 0, terminal.screen);
    assert.match(terminal.screen, /3 of 4/);
  } finally {
    await terminal.close();
  }

  const other = join(home, "other");
  const options = [
    "--network",
    "signet",
    "--chain",
    "https://one.example/api",
    "--chain",
    "https://two.example",
  ];
  const ran = await runCairn(
    ["init", ...options, "--nodes", "4", "--threshold", "3", "--max-per-day", "0.1btc", "--dir", other],
    { HOME: home },
  );
  assert.equal(ran.exit, 0, ran.stderr);
  assert.deepEqual(await contentsOf(dir), await contentsOf(other));
});

/** What is answered before the person gives up. */
const stops: Record<string, (terminal: Terminal) => Promise<void>> = {
  "at the first question": async (terminal) => {
    await terminal.shows(/Which Bitcoin network\?/);
  },
  "after a wrong answer": async (terminal) => {
    await terminal.shows(/Which Bitcoin network\?/);
    terminal.type(keys.enter);
    await terminal.shows(/Esplora endpoints/);
    terminal.type(`${keys.clear}nowhere`);
    terminal.type(keys.enter);
    await terminal.shows(/is no URL/);
  },
  "at the last question": async (terminal) => {
    await terminal.shows(/Which Bitcoin network\?/);
    terminal.type(keys.enter);
    for (const question of [/Esplora endpoints/, /How many nodes/, /How many of them/, /The most that/]) {
      await terminal.shows(question);
      terminal.type(keys.enter);
    }
    await terminal.shows(/Folder to make/);
  },
};

for (const [name, answer] of Object.entries(stops)) {
  test(`an interrupt ${name} makes nothing, says so, and leaves nothing behind`, {
    timeout: 180_000,
  }, async () => {
    const home = await temporaryFolder();
    const terminal = new Terminal(["init", "--dir", join(home, "mine")], home);
    try {
      await answer(terminal);
      terminal.type(keys.interrupt);
      assert.equal(await terminal.exit(), 75, terminal.screen);
      assert.match(terminal.screen, /nothing was made; run the command again/);
    } finally {
      await terminal.close();
    }
    assert.deepEqual(await readdir(home, { recursive: true }), []);
  });
}
