import assert from "node:assert/strict";
import { decodeAddress, deriveKey, psbtFault, psbtRuleVersions } from "@cairn/bitcoin";
import {
  deferralSchema,
  evidenceSchema,
  type Intent,
  intentHash,
  intentSchema,
  judgeEvidence,
  signedVoidSchema,
  signedVoteSchema,
} from "@cairn/consensus";
import {
  type AuditEntry,
  auditEntrySchema,
  type BanRow,
  decodeCanonical,
  type IntentHash,
  type Manifest,
  manifestHash,
  type NodeIndex,
  type PeerMessage,
  type Sats,
  type SignedSpendRequest,
  type Signer,
  type SpendRequest,
  type TransactionRow,
  type ViolationRow,
  type WalletRecord,
} from "@cairn/core";
import { HostileNode } from "@cairn/runtime/test-support";
import { createMemoryEngine } from "@cairn/signing/memory-engine";
import {
  InProcessCluster,
  type InProcessClusterOptions,
  type InProcessNode,
  type Tampering,
} from "./cluster.ts";
import { ReleasedPartials } from "./released-partials.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/** Five nodes of which node 5 is hostile, a funded wallet, and what a judge of the scene asks. */
export class HostileScene {
  readonly cluster: InProcessCluster;
  readonly hostile: HostileNode;
  readonly record: WalletRecord;
  /** Partials of the honest nodes. */
  readonly partials: ReleasedPartials;
  readonly honest: readonly NodeIndex[] = [1, 2, 3, 4].map((index) => index as NodeIndex);
  readonly #addresses: number;
  #funded = 0;

  private constructor(
    cluster: InProcessCluster,
    hostile: HostileNode,
    record: WalletRecord,
    partials: ReleasedPartials,
    addresses: number,
  ) {
    this.partials = partials;
    this.#addresses = addresses;
    this.cluster = cluster;
    this.hostile = hostile;
    this.record = record;
  }

  /** Runs `play` in a new scene and takes it down. */
  static async run(
    play: (scene: HostileScene) => Promise<void>,
    options: InProcessClusterOptions & {
      readonly protocol?: "frost" | "cggmp24";
      readonly coins?: number;
      /** Pays all coins to one address, so that presignatures of one path serve them. */
      readonly samePath?: boolean;
      /** Gives every node the engine's twin without cryptography: ECDSA in seconds, where the protocol itself is not the point. */
      readonly twin?: boolean;
    } = {},
  ): Promise<void> {
    const { protocol = "frost", coins = 4, samePath = false, twin = false, ...rest } = options;
    const hostile = new HostileNode(5);
    const partials = new ReleasedPartials();
    const cluster = await InProcessCluster.start({
      timeouts: {
        ackMs: 700,
        startMs: 1_000,
        roundMs: protocol === "frost" ? 1_200 : 15_000,
        sessionMs: 30_000,
      },
      attempts: { slotMs: 500, patienceMs: 500 },
      ...rest,
      tampering: (index) => {
        const tampering: Tampering = hostile.tampering(index) ?? {
          courier: (courier) => partials.over(index, courier),
        };
        if (!twin) return tampering;
        const engine = createMemoryEngine({ seed: Uint8Array.of(index) });
        return { ...tampering, engine: () => tampering.engine?.(engine) ?? engine };
      },
    });
    try {
      const record = await cluster.makeWallet(protocol);
      const scene = new HostileScene(cluster, hostile, record, partials, samePath ? 1 : 20);
      for (let coin = 0; coin < coins; coin += 1) scene.fund(500_000n);
      await play(scene);
    } finally {
      await cluster.close();
    }
  }

  fund(amountSats: bigint): void {
    const booked = this.cluster.node(1).runtime.wallets.all()[0];
    assert.ok(booked);
    const { address } = deriveKey(booked.descriptor, [0, this.#funded % this.#addresses]);
    this.#funded += 1;
    this.cluster.chain.fund(decodeAddress(address, "regtest").script, amountSats);
    this.cluster.chain.mine(1);
  }

  request(change: Partial<SpendRequest> = {}) {
    return this.cluster.spendRequest(this.record, {
      outputs: [{ address: recipient, amountSats: 20_000n as Sats }],
      ...change,
    });
  }

  get manifest(): Manifest {
    return this.cluster.manifest;
  }

  /** Of the hostile node. */
  get signer(): Signer {
    return this.cluster.signerOf(this.hostile.index);
  }

  honestNodes(): readonly InProcessNode[] {
    return this.honest.map((index) => this.cluster.node(index));
  }

  /** Honest nodes that are up. */
  running(): readonly InProcessNode[] {
    return this.honest.flatMap((index) => this.cluster.nodes.get(index) ?? []);
  }

  rows(intent: IntentHash): Promise<readonly (TransactionRow | null)[]> {
    return Promise.all(this.honestNodes().map(({ store }) => store.transaction({ intent })));
  }

  /** Submits a payment at an honest node, or another, without waiting for it. */
  async submit(at = 1, change: Partial<SpendRequest> = {}): Promise<IntentHash> {
    const { body, signature } = this.request(change);
    return (await this.cluster.node(at).runtime.submit(body, signature)).intent;
  }

  /** Has the hostile node make an intent of a request, of which nobody hears until a test sends it. */
  async secretIntent({ body, signature }: SignedSpendRequest): Promise<Intent> {
    const { hostile } = this;
    const before = hostile.rewrite;
    let made: Intent | null = null;
    hostile.rewrite = (to, said) => {
      if (said.kind === "intent") made ??= decodeCanonical(intentSchema, said.payload);
      return made !== null && intentOf(said) === intentHash(made) ? null : before(to, said);
    };
    await this.cluster.node(hostile.index).runtime.submit(body, signature);
    return made ?? assert.fail("no intent was made");
  }

  /** A payment that every honest node must see signed. */
  async pay(at = 1): Promise<IntentHash> {
    const intent = await this.submit(at);
    await this.signed(intent);
    return intent;
  }

  async signed(intent: IntentHash, timeoutMs = 20_000): Promise<void> {
    let last: readonly (string | undefined)[] = [];
    await this.cluster.until(
      async () => {
        const rows = await this.rows(intent);
        last = rows.map((row) => row?.state);
        return rows.every((row) => row !== null && row.signedTx !== null);
      },
      timeoutMs,
      () => `the spend is at ${last}`,
    );
    this.cluster.chain.mine(1);
  }

  /**
   * Pays again and again until the hostile node had its chance: chance decides who signs a spend, and who of five initiates it.
   */
  async payUntil(holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; tries < 50; tries += 1) {
      this.fund(500_000n);
      await this.pay(1 + (tries % 4));
      if (await holds()) return;
    }
    assert.fail(`the hostile node never had its chance; it lied ${this.hostile.lies} times`);
  }

  async eventually(holds: () => boolean | Promise<boolean>, what: string, timeoutMs = 8_000): Promise<void> {
    await this.cluster.until(holds, timeoutMs, () => what);
  }

  /** What honest nodes recorded against the hostile one. */
  async recorded(type: string): Promise<readonly ViolationRow[]> {
    const rows = await Promise.all(
      this.honestNodes().map(({ store }) => store.violations({ node: this.hostile.index, limit: 100 })),
    );
    return rows.flat().filter((row) => row.type === type);
  }

  /** Every honest node bans the hostile one. */
  async bannedByAll(violation: string, scope: BanRow["scope"] = "cluster"): Promise<void> {
    await this.eventually(
      () =>
        this.honestNodes().every(({ runtime }) =>
          runtime.bans.bans().some((row) => row.node === this.hostile.index && row.scope === scope),
        ),
      `not every honest node banned node ${this.hostile.index} for ${violation}`,
    );
    const rows = await this.recorded(violation);
    assert.ok(rows.length >= this.honest.length, `${violation} is on record`);
    if (scope === "cluster") for (const row of rows) this.#assertProvesItself(row);
  }

  /** Somebody with nothing but the manifest comes to the same. */
  #assertProvesItself({ evidence, type, node }: ViolationRow): void {
    const rules = { manifest: this.manifest, manifestHash: manifestHash(this.manifest) };
    const judged = judgeEvidence(decodeCanonical(evidenceSchema, evidence), rules, {
      protocolVersions: psbtRuleVersions,
      intentFault: ({ psbt, request, anchor }, wallet) =>
        psbtFault(psbt, wallet, request.body, anchor?.checkpoint ?? null),
    });
    assert.deepEqual(judged, { kind: "proven", type, node });
  }

  /** No honest node bans another. */
  assertHonestUnbanned(): void {
    for (const { index, runtime } of this.honestNodes()) {
      const wrong = runtime.bans.bans().filter((row) => row.node !== this.hostile.index);
      assert.deepEqual(wrong, [], `node ${index} banned an honest node`);
    }
  }

  /** Entries of honest nodes' audit logs. */
  async audited(kind: string): Promise<readonly AuditEntry[]> {
    const logs = await Promise.all(
      this.honestNodes().map(({ store }) => store.audit({ from: 0, limit: 10_000 })),
    );
    return logs
      .flat()
      .filter((row) => row.kind === kind)
      .map((row) => decodeCanonical(auditEntrySchema, row.body));
  }

  async unreserved(timeoutMs = 10_000): Promise<void> {
    const held = () =>
      this.honestNodes().map(({ runtime }) => runtime.spends.reservedSats(this.record.wallet));
    await this.eventually(() => held().every((sats) => sats === 0n), `still reserved: ${held()}`, timeoutMs);
  }
}

/** The intent that a message is about, where it is about one. */
function intentOf({ kind, payload }: PeerMessage): IntentHash | null {
  switch (kind) {
    case "intent":
      return intentHash(decodeCanonical(intentSchema, payload));
    case "vote":
      return decodeCanonical(signedVoteSchema, payload).body.intentHash;
    case "void":
      return decodeCanonical(signedVoidSchema, payload).body.intentHash;
    case "deferral":
      return decodeCanonical(deferralSchema, payload).intentHash;
    default:
      return null;
  }
}
