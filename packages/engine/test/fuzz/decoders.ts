import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after } from "node:test";
import { type ExecutionId, equalBytes, hashHexSchema, toHex } from "@cairn/core";
import type { Decoder } from "@cairn/core/test-support";
import { native } from "@cairn/native-engine/reduced";
import type { EngineSpec } from "@cairn/signing";
import { backupOpenerOver } from "../../src/backup.ts";
import { createVerificationOver } from "../../src/create-verification.ts";
import { failureError } from "../../src/native-error.ts";
import { openEngine } from "../../src/open-engine.ts";
import { executionId, frostKey, node, openCluster, results, runSession, shareOf } from "../support/wire.ts";
import { exact } from "./exact.ts";
import { firstAnswer } from "./first-answer.ts";
import { typed } from "./typed.ts";

const cluster = await openCluster({ size: 2 });
after(() => cluster.close());
const [one, two] = [node(1), node(2)];
const key = await frostKey(cluster, 2);
const preimage = Uint8Array.of(0, 1, 2);
const signers = [one, two];
const verification = createVerificationOver(native);

const signSpec = (execution: ExecutionId, sealedShare: Uint8Array): EngineSpec => ({
  kind: "frost-sign",
  executionId: execution,
  keyId: key.keyId,
  epoch: key.epoch,
  me: one,
  signers,
  sealedShare,
  items: [{ path: [0, 0], preimage }],
});

const execution = executionId();
const signed = results(
  await runSession(
    cluster,
    signers,
    (me) => ({ ...signSpec(execution, shareOf(key, me)), me }) as EngineSpec,
  ),
  "frost-sign",
);
const signature = signed.get(one)?.signatures[0] ?? new Uint8Array(64);

const keygenSpec = (execution: ExecutionId, me: typeof one): EngineSpec => ({
  kind: "frost-keygen",
  executionId: execution,
  keyId: key.keyId,
  epoch: 0,
  me,
  parties: signers,
  threshold: 2,
});

/** Version, kind, round, broadcast, item, execution and context: what stands before a message's body. */
const placeOf = (message: Uint8Array) => message.subarray(0, 70);
const shared = executionId();
const firstOfTwo = await firstAnswer(cluster.engine(two), keygenSpec(shared, two), 1);

const folder = await mkdtemp(join(cluster.folder, "fuzz-"));
after(() => rm(folder, { recursive: true, force: true }));
const header = new Uint8Array(await readFile(join(cluster.folder, "node-1", "vault.header")));
const keyFile = new Uint8Array(await readFile(join(cluster.folder, "key-1")));

/** Opens an engine over a vault header and a key file, as they may be found after a disk fault. */
async function openOver(files: { readonly header: Uint8Array; readonly key: Uint8Array }): Promise<void> {
  const dataDir = join(folder, "node");
  const path = join(folder, "key");
  await rm(dataDir, { recursive: true, force: true });
  await rm(path, { force: true });
  await writeFile(path, files.key, { mode: 0o600 });
  await mkdir(dataDir, { mode: 0o700 });
  await writeFile(join(dataDir, "vault.header"), files.header, { mode: 0o600 });
  const { engine } = await openEngine(native, {
    clusterId: cluster.clusterId,
    me: one,
    dataDir,
    keySource: { kind: "file", path },
    primes: { target: 0 },
  });
  await engine.close();
}

const { vault, engine, backups } = cluster.opened(one);
const identity = join(folder, "identity");
const backup = await backups.create({
  document: Uint8Array.of(1),
  files: [],
  items: [
    { kind: "frost-share", id: hashHexSchema.parse(key.keyId), epoch: key.epoch, sealed: shareOf(key, one) },
  ],
  lock: { recipients: [backupOpenerOver(native).createIdentity(identity)] },
});
const sealedSecret = await vault.seal("fuzz", Uint8Array.of(1, 2, 3));

/** Every call of the native library that takes bytes of others, with what FROST makes; `ecdsa-decoders.ts` has what CGGMP24 makes. */
export const decoders: readonly Decoder[] = [
  {
    name: "public-package",
    samples: [key.publicPackage],
    decode: (input) => typed(() => native.describe(input)),
  },
  {
    name: "verify-package",
    samples: [key.publicPackage],
    decode: (input) => verification.verify({ publicPackage: input, path: [0, 0], preimage, signature }),
  },
  exact("verify-signature", signature, (input) =>
    verification.verify({ publicPackage: key.publicPackage, path: [0, 0], preimage, signature: input }),
  ),
  exact("verify-preimage", preimage, (input) =>
    verification.verify({ publicPackage: key.publicPackage, path: [0, 0], preimage: input, signature }),
  ),
  ...(["package", "data", "partial"] as const).map(
    (part): Decoder => ({
      name: `combine-${part}`,
      samples: [],
      near: [key.publicPackage, firstOfTwo, signature],
      decode: async (input) => {
        const { failure } = await typed(() =>
          native.combine(
            part === "package" ? input : key.publicPackage,
            part === "data" ? input : firstOfTwo,
            0,
            0,
            preimage,
            signers.map((from) => ({ from, partial: part === "partial" ? input : signature })),
          ),
        );
        if (failure !== undefined) throw failureError(failure);
      },
    }),
  ),
  exact("sealed-secret", sealedSecret, async (input) => {
    await vault.open("fuzz", input);
    return true;
  }),
  exact("sealed-share", shareOf(key, one), async (input) => {
    await firstAnswer(engine, signSpec(executionId(), input), 1);
    return true;
  }),
  {
    name: "round-message",
    samples: [firstOfTwo],
    decode: (input) =>
      firstAnswer(engine, keygenSpec(shared, one), 2, (session) => {
        session.receive(two, input);
        // A message for another place in the protocol may wait for its turn: the session goes on with that of this one.
        if (!equalBytes(placeOf(input), placeOf(firstOfTwo))) session.receive(two, firstOfTwo);
      }),
  },
  {
    name: "ids",
    samples: [new Uint8Array(randomBytes(32))],
    decode: (input) => firstAnswer(engine, signSpec(toHex(input) as ExecutionId, shareOf(key, one)), 1),
  },
];

/** Files that a disk or a person may damage. */
export const fileDecoders: readonly Decoder[] = [
  // With a key file nothing is derived, so another derivation in the header changes nothing.
  {
    name: "vault-header",
    samples: [header],
    decode: (input) => openOver({ header: input, key: keyFile }),
  },
  exact("backup", backup, async (input) => {
    backupOpenerOver(native).open(input, { kind: "file", path: identity }).close();
    return true;
  }),
  exact("key-file", keyFile, async (input) => {
    await openOver({ header, key: input });
    return true;
  }),
];
