import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  buildPsbt,
  checkPsbt,
  deriveKey,
  encodePsbt,
  finalizeSpend,
  MemoryChainSource,
} from "@cairn/bitcoin";
import { certificateSchema, type Intent, intentHash, intentSchema, type Vote } from "@cairn/consensus";
import {
  domainBytes,
  encodeCanonical,
  fromHex,
  manifestHash,
  type NodeIndex,
  nodeIndexSchema,
  type SyncRecord,
  spendRequestSchema,
  systemClock,
  systemRandom,
  type UnixMs,
} from "@cairn/core";
import { namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import { policyHash } from "@cairn/policy";
import { Loop, SpendDesk, WalletBook } from "@cairn/runtime";
import { AuditLog, openSqliteStore } from "@cairn/storage";
import { schnorr } from "@noble/curves/secp256k1.js";
import { rulesFor, strangerKey, testWallet } from "../packages/bitcoin/test/test-wallet.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { spreadOf } from "./spread.ts";

const QUICK = 256;
const WHOLE = 2_048;
const ROUNDS = 3;
const AT_ONCE = 8;
const COIN_SATS = 100_000n;
const PAID_SATS = 50_000n;
/** Branches of the wallet that coins lie on: addresses are paid to more than once. */
const ADDRESSES = 16;
/** DER before the 32 bytes of an Ed25519 public key (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const me = nodeIndexSchema.parse(1);
const members = [1, 2, 3, 4, 5].map((index) => namedSigner(`node ${index}`));
const owner = namedSigner("requester");
const policy = openPolicy();
const manifest = testManifest(
  members.map(({ publicKey }) => ({ identity: publicKey })),
  { policy: policyHash(policy), requesters: [owner.publicKey] },
);
const hash = manifestHash(manifest);

/** A settled payment as a peer hands it over, and the bare facts of its signatures. */
interface Handed {
  readonly records: readonly SyncRecord[];
  readonly signed: readonly {
    readonly bytes: Uint8Array;
    readonly key: KeyObject;
    readonly signature: Uint8Array;
  }[];
  readonly input: { readonly digest: Uint8Array; readonly key: Uint8Array; readonly signature: Uint8Array };
  readonly bytes: Uint8Array;
}

/**
 * Settled payments that a node missed, taken in from a peer's records (owner's signature, four votes, the transaction's signature, the node's own
 * chain), beside a bare loop that verifies the same signatures and commits the same bytes, as many at a time.
 */
export async function sync(plan: Plan): Promise<readonly Entry[]> {
  const count = plan.quick ? QUICK : WHOLE;
  const wallet = testWallet("tr");
  const chain = new MemoryChainSource();
  const payments = Array.from({ length: count }, (_, at) => payment(wallet, chain, at));
  for (const { raw } of payments) await chain.broadcast(raw);
  chain.mine(7);
  const handed = payments.map(({ handed: one }) => one);
  const ratios: number[] = [];
  const speeds: { taken: number; bare: number; heap: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const bare = await bareLoop(handed);
    const { ms: taken, heap } = await takeIn(handed, wallet, chain);
    speeds.push({ taken, bare, heap });
    ratios.push(taken / bare);
  }
  const { taken, bare, heap } = speeds.at(-1) ?? { taken: 0, bare: 0, heap: 0 };
  return [
    {
      section: "state sync",
      what: `${count} settled payments taken in from a peer`,
      partner: "verifying their signatures and committing their bytes",
      ratio: spreadOf(ratios),
      target: null,
      note: `${(1_000 / taken).toFixed(0)} beside ${(1_000 / bare).toFixed(0)} payments a second of processor time; ${heap.toFixed(0)} bytes a payment stay in memory`,
    },
  ];
}

function payment(
  wallet: ReturnType<typeof testWallet>,
  chain: MemoryChainSource,
  at: number,
): { readonly raw: Uint8Array; readonly handed: Handed } {
  const { descriptor } = wallet;
  const path = [0, at % ADDRESSES] as const;
  const recipient = strangerKey("tr", at % ADDRESSES);
  const coin = chain.fund(deriveKey(descriptor, path).script, COIN_SATS);
  const outputs = [{ address: recipient.address, amountSats: PAID_SATS }];
  const psbt = encodePsbt(
    buildPsbt({
      descriptor,
      coins: [{ previousTransaction: coin.raw, vout: 0, path }],
      recipients: [{ amountSats: PAID_SATS, script: recipient.script }],
      change: { amountSats: COIN_SATS - PAID_SATS - 1_000n, index: 0, position: 1 },
      lockTime: 0,
    }),
  );
  const now = systemClock.now();
  const request = spendRequestSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    network: "regtest",
    wallet: descriptor.wallet,
    outputs,
    maxFeeSats: 10_000n,
    feeRateSatsPerKvb: null,
    nonce: Buffer.from(systemRandom.bytes(32)).toString("hex"),
    createdAt: now - 60_000,
    expiry: now + 60_000,
    replaces: null,
    requester: owner.publicKey,
  });
  const intent: Intent = intentSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    request: { body: request, signature: owner.sign("cairn/spend-request/v1", request) },
    psbt: new Uint8Array(psbt),
    wallet: descriptor.wallet,
    manifestHash: hash,
    policyVersion: policy.policyVersion,
    protocolVersion: 1,
    createdAt: now - 30_000,
    anchor: null,
  });
  const named = intentHash(intent);
  const voteOf = (voter: NodeIndex): Vote => ({
    version: 1,
    cluster: manifest.cluster,
    manifestHash: hash,
    intentHash: named,
    round: 1,
    voter,
    approve: true,
    reason: null,
  });
  const voters = [1, 2, 3, 4].map((index) => nodeIndexSchema.parse(index));
  const votes = voters.map((voter) => ({
    voter,
    signature: (members[voter - 1] ?? owner).sign("cairn/vote/v1", voteOf(voter)),
  }));
  const certificate = certificateSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    manifestHash: hash,
    intentHash: named,
    round: 1,
    votes,
  });
  const checked = checkPsbt(psbt, { ...rulesFor(descriptor, outputs, { nextChangeIndex: 1 }), anchor: null });
  const signatures = wallet.sign(checked);
  const { raw } = finalizeSpend(checked, signatures);
  const [input] = checked.inputs;
  const [signature] = signatures;
  if (input === undefined || signature === undefined) throw new Error("no input");
  const final = {
    version: 1,
    intentHash: named,
    signers: voters,
    signatures: signatures.map((one) => new Uint8Array(one)),
  };
  const records = [
    { kind: "intent" as const, body: new Uint8Array(encodeCanonical(intent)) },
    { kind: "certificate" as const, body: new Uint8Array(encodeCanonical(certificate)) },
    { kind: "final" as const, body: new Uint8Array(encodeCanonical(final)) },
  ];
  return {
    raw,
    handed: {
      records,
      signed: [
        {
          bytes: domainBytes("cairn/spend-request/v1", request),
          key: keyOf(owner.publicKey),
          signature: fromHex(intent.request.signature ?? ""),
        },
        ...votes.map(({ voter, signature: word }) => ({
          bytes: domainBytes("cairn/vote/v1", voteOf(voter)),
          key: keyOf((members[voter - 1] ?? owner).publicKey),
          signature: fromHex(word),
        })),
      ],
      input: { digest: input.sighash.digest, key: input.signingKey, signature },
      bytes: new Uint8Array(Buffer.concat([...records.map(({ body }) => body), raw])),
    },
  };
}

/** What cannot be left out: each signature verified, the bytes on the disk. Milliseconds of processor time a payment. */
async function bareLoop(handed: readonly Handed[]): Promise<number> {
  return inStore(async (store) => {
    const began = cpuMs();
    for (let at = 0; at < handed.length; at += AT_ONCE) {
      const some = handed.slice(at, at + AT_ONCE);
      for (const { signed, input } of some) {
        for (const { bytes, key, signature } of signed)
          if (!verify(null, bytes, key, signature)) throw new Error("a word does not verify");
        if (!schnorr.verify(input.signature, input.digest, input.key))
          throw new Error("a signature does not verify");
      }
      await store.commit(
        some.map(({ bytes }, offset) => ({ write: "meta", key: `${at + offset}`, value: bytes })),
      );
    }
    return (cpuMs() - began) / handed.length;
  });
}

/** A node's own parts over a database of its own. Milliseconds of processor time a payment, and bytes of heap that are still there. */
async function takeIn(
  handed: readonly Handed[],
  wallet: ReturnType<typeof testWallet>,
  chain: MemoryChainSource,
): Promise<{ readonly ms: number; readonly heap: number }> {
  return inStore(async (store) => {
    const [signer] = members;
    if (signer === undefined) throw new Error("no signer");
    const audit = await AuditLog.create(
      { cluster: manifest.cluster, node: me },
      { store, signer, clock: systemClock },
    );
    const report = (cause: unknown): never => {
      throw cause;
    };
    const courier = { posting: report, send: report, kick: report } as never;
    const loop = new Loop({ store, courier, audit, report });
    const wallets = new WalletBook({ chain, clock: systemClock });
    wallets.add({
      wallet: wallet.descriptor.wallet,
      keyId: "0".repeat(64) as never,
      label: "bench",
      createdAt: 0 as UnixMs,
      record: encodeCanonical({
        record: {
          version: 1,
          cluster: manifest.cluster,
          wallet: wallet.descriptor.wallet,
          label: "bench",
          network: "regtest",
          descriptor: wallet.descriptor.text,
          keyId: "0".repeat(64),
          protocol: "frost",
          publicPackage: "0".repeat(64),
          birthday: 0,
        },
        signatures: [],
      }),
    });
    const inForce = { manifest, manifestHash: hash, policy };
    const spends = new SpendDesk(
      {
        me,
        book: { ...inForce, under: () => ({ ...inForce, commit: null }) },
        protocolVersions: [1],
        clockSkewMs: 30_000,
        roundMs: 3_000,
        recheckMs: 1_000,
        anchorMs: 0,
      },
      {
        loop,
        store,
        chain,
        wallets,
        signer,
        clock: systemClock,
        random: systemRandom,
        certified: () => {},
        signed: () => {},
        signing: () => false,
        underWay: () => false,
        violation: () => {},
        proves: () => false,
        changed: () => {},
        admitted: async () => {},
        recollection: { restoredAt: null, forgets: () => false },
        checkpoint: () => null,
        report,
      },
    );
    await spends.restore();
    const before = bytesInUse();
    const began = cpuMs();
    for (let at = 0; at < handed.length; at += AT_ONCE) {
      await Promise.all(
        handed.slice(at, at + AT_ONCE).map(async ({ records }) => {
          const missing = await spends.sync.take(me, spends.sync.read(records));
          if (missing !== null) throw new Error("something is missing");
        }),
      );
    }
    const ms = (cpuMs() - began) / handed.length;
    const heap = (bytesInUse() - before) / handed.length;
    if (spends.all().length > 0) throw new Error("something was not settled");
    const kept = await store.transactions({ states: ["confirmed"], limit: handed.length + 1 });
    if (kept.length !== handed.length) throw new Error(`${kept.length} of ${handed.length} were kept`);
    return { ms, heap };
  });
}

async function inStore<Result>(
  run: (store: Awaited<ReturnType<typeof openSqliteStore>>) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-sync-"));
  try {
    const owns = { cluster: manifest.cluster, node: me };
    const store = await openSqliteStore({ path: join(folder, "node.db"), ...owns }, { clock: systemClock });
    try {
      return await run(store);
    } finally {
      await store.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of all threads of this process. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function bytesInUse(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new TypeError("this engine gives no way to collect garbage");
  collect();
  return process.memoryUsage().heapUsed;
}

function keyOf(publicKey: string): KeyObject {
  return createPublicKey({
    key: Buffer.concat([SPKI, fromHex(publicKey)]),
    format: "der",
    type: "spki",
  });
}
