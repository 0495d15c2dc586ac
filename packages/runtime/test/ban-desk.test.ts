import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Evidence,
  offenceOf,
  type SignedVote,
  signAccusation,
  signedAccusationSchema,
  signVote,
  type Vote,
} from "@cairn/consensus";
import {
  type BanRow,
  CairnError,
  type Courier,
  decodeCanonical,
  encodeCanonical,
  fenceAnswerHash,
  type HashHex,
  type IntentHash,
  isCairnError,
  type Manifest,
  type ManifestHash,
  manifestHash,
  type NodeIndex,
  type Nonce,
  type OutboxRow,
  type SignedFenceAnswer,
  type StoreWrite,
  sha256Hex,
  signFenceAnswer,
  type UnixMs,
  type ViolationRow,
} from "@cairn/core";
import { ManualClock, namedSigner, testManifest } from "@cairn/core/test-support";
import { type AuditFact, BanDesk, Loop, type ManifestLink } from "../src/index.ts";
import { PeerInbox, type PeerInboxModules } from "../src/peer-inbox.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const nodes = [1, 2, 3, 4, 5].map((index) => namedSigner(`node ${index}`));
const membersOf = (signers: typeof nodes) => signers.map(({ publicKey }) => ({ identity: publicKey }));
const genesis = testManifest(membersOf(nodes));
const signerOf = (index: number) => nodes[index - 1] ?? assert.fail();

/** What outlives the desk. */
interface Disk {
  readonly bans: BanRow[];
  readonly violations: ViolationRow[];
}

function benchOf(
  manifest: Manifest = genesis,
  disk: Disk = { bans: [], violations: [] },
  clock = new ManualClock(),
) {
  const posted: { to: NodeIndex; id: string; evidence: Evidence }[] = [];
  const facts: AuditFact[] = [];
  let refused: ReadonlySet<NodeIndex> = new Set();
  const courier = {
    posting: (to, id, { payload }) => {
      posted.push({ to, id, evidence: decodeCanonical(signedAccusationSchema, payload).body.evidence });
      return { write: "outbox", row: { to, id } as OutboxRow };
    },
    kick: () => {},
    setRefused: (set) => {
      refused = set;
    },
  } as Partial<Courier> as Courier;
  const store = {
    commit: async (writes: readonly StoreWrite[]) => {
      for (const write of writes) {
        if (write.write === "violation") disk.violations.push(write.row);
        if (write.write === "ban") disk.bans.push(write.row);
      }
    },
    bans: async () => disk.bans,
    violations: async () => disk.violations,
    presignature: async () => null,
  };
  const audit = {
    entries: (all: readonly AuditFact[]) => {
      facts.push(...all);
      return [];
    },
    committed: () => {},
    discarded: () => {},
  };
  const loop = new Loop({ store, courier, audit, report: (cause) => assert.fail(String(cause)) });
  const known = [genesis, manifest];
  const heldTo: { readonly node: NodeIndex; readonly earlier: SignedFenceAnswer }[] = [];
  const desk = new BanDesk(
    {
      me: 1 as NodeIndex,
      book: {
        manifest,
        manifestHash: manifestHash(manifest),
        under: (hash) => {
          const found = known.find((each) => manifestHash(each) === hash);
          if (found === undefined) throw new CairnError("wrong-manifest", "unknown");
          return { manifest: found, manifestHash: hash } as ManifestLink;
        },
      },
    },
    {
      loop,
      store,
      courier,
      signer: signerOf(1),
      clock,
      detected: () => {},
      banned: () => {},
      lifted: () => {},
      forgiven: () => false,
      setBack: async (node, earlier) => void heldTo.push({ node, earlier }),
    },
  );
  const accuse = (accuser: number, evidence: Evidence) =>
    desk.onEvidence(accuser as NodeIndex, accusation(accuser, evidence));
  return { desk, loop, clock, disk, posted, facts, accuse, heldTo, refused: () => refused };
}

function accusation(accuser: number, evidence: Evidence): Uint8Array {
  const body = { version: 1 as const, cluster: genesis.cluster, accuser: accuser as NodeIndex, evidence };
  return encodeCanonical(signAccusation(body, signerOf(accuser)));
}

/** Two votes of `voter` for the intent `name` that differ, in one order or the other. */
function doubleVote(
  voter: number,
  name: string,
  { turned = false, signer = signerOf(voter), manifest = genesis } = {},
): Evidence {
  const hash = manifestHash(manifest);
  const body: Vote = {
    version: 1,
    cluster: manifest.cluster,
    manifestHash: hash,
    intentHash: sha256Hex(Buffer.from(name, "utf8")) as IntentHash,
    round: 1,
    voter: voter as NodeIndex,
    approve: true,
    reason: null,
  };
  const a = signVote(body, signerOf(voter));
  const b = signVote({ ...body, approve: false, reason: { code: "dust", blocking: [] } }, signer);
  const votes: [SignedVote, SignedVote] = turned ? [b, a] : [a, b];
  return { type: "DoubleVote", version: 1, manifestHash: hash, votes };
}

const terms = (rows: readonly BanRow[]) =>
  rows.map(({ from, until }) => (until === null ? null : (until - from) / HOUR));

/** A word of `node` on how far it is, after it was shown `remembered`. */
function fenceAnswer(
  node: number,
  auditLength: number,
  remembered: SignedFenceAnswer | null = null,
): SignedFenceAnswer {
  const head = (length: number) => sha256Hex(Buffer.from(`head ${length}`, "utf8")) as HashHex;
  return signFenceAnswer(
    {
      version: 1,
      cluster: genesis.cluster,
      node: node as NodeIndex,
      challenger: 2 as NodeIndex,
      nonce: "ab".repeat(32) as Nonce,
      position: { epoch: 0, burnCounter: 0, auditLength },
      auditHead: head(auditLength),
      continues:
        remembered === null ? null : { auditLength: remembered.body.position.auditLength, auditHead: null },
      remembered: remembered === null ? null : fenceAnswerHash(remembered.body),
      answeredAt: 0 as UnixMs,
    },
    signerOf(node),
  );
}

test("a proven rollback bans nobody: the node is held to where it was, the proof goes on to the others; an invented one bans its author", async () => {
  const { accuse, desk, disk, heldTo, posted } = benchOf();
  const earlier = fenceAnswer(5, 9);
  const answers: [SignedFenceAnswer, SignedFenceAnswer] = [earlier, fenceAnswer(5, 4, earlier)];
  const rollback: Evidence = { type: "Rollback", version: 1, manifestHash: manifestHash(genesis), answers };
  await accuse(2, rollback);
  assert.deepEqual(heldTo, [{ node: 5, earlier }]);
  assert.deepEqual(desk.bans(), []);
  assert.deepEqual(
    disk.violations.map(({ node, type, action }) => [node, type, action]),
    [[5, "Rollback", "exclude"]],
  );
  const told = posted.length;
  assert.ok(told > 0);
  await accuse(3, rollback);
  assert.deepEqual(
    [heldTo.length, posted.length, disk.violations.length],
    [1, told, 1],
    "once known, it is old news",
  );

  await accuse(3, { ...rollback, answers: [fenceAnswer(4, 9), fenceAnswer(4, 4)] });
  assert.deepEqual(
    desk.bans().map(({ node }) => node),
    [3],
  );
  assert.equal(heldTo.length, 1);
});

test("a first offence bans for 24 hours, a second for 7 days, a third for good; none counts twice, in whatever words", async () => {
  const bench = benchOf();
  const { clock, accuse, desk } = bench;
  await accuse(2, doubleVote(5, "first"));
  await accuse(3, doubleVote(5, "first", { turned: true }));
  assert.deepEqual(terms(desk.bans()), [24]);
  assert.deepEqual([...bench.refused()], [5]);
  clock.advance(DAY);
  assert.deepEqual([...bench.refused()], [], "the transport lets it in again");
  await accuse(2, doubleVote(5, "first", { turned: true }));
  await accuse(2, doubleVote(5, "first"));
  assert.deepEqual(desk.bans(), []);
  await accuse(2, doubleVote(5, "second"));
  assert.deepEqual(terms(desk.bans()), [7 * 24]);
  clock.advance(7 * DAY);
  await accuse(2, doubleVote(5, "third"));
  clock.advance(1_000 * DAY);
  assert.deepEqual(terms(desk.bans()), [null]);
});

test("what a restart finds on the disk still counts once", async () => {
  const { disk, accuse, clock } = benchOf();
  await accuse(2, doubleVote(5, "first"));
  const again = benchOf(genesis, disk, clock);
  await again.desk.restore();
  assert.deepEqual(terms(again.desk.bans()), [24]);
  await again.accuse(3, doubleVote(5, "first", { turned: true }));
  assert.deepEqual([again.disk.violations.length, again.posted.length], [1, 0]);
});

test("proven evidence is spread once, in this node's own name, to all but the accused", async () => {
  const { accuse, posted, disk } = benchOf();
  const evidence = doubleVote(5, "first");
  for (const accuser of [2, 3, 4]) await accuse(accuser, evidence);
  assert.deepEqual(
    posted.map(({ to, id }) => [to, id]),
    [2, 3, 4].map((to) => [to, `evidence/${offenceOf(evidence).id}`]),
  );
  assert.deepEqual(
    disk.violations.map(({ id, action }) => [id, action]),
    [[offenceOf(evidence).id, "ban"]],
  );
});

test("an accusation that proves nothing bans its accuser everywhere, and the accused nowhere", async () => {
  const { accuse, posted, desk } = benchOf();
  await accuse(3, doubleVote(2, "invented", { signer: namedSigner("thief") }));
  assert.deepEqual(
    desk.bans().map(({ node, scope }) => [node, scope]),
    [[3, "cluster"]],
  );
  assert.deepEqual(
    posted.map(({ to, evidence }) => [to, evidence.type]),
    [2, 4, 5].map((to) => [to, "FalseAccusation"]),
  );
  const elsewhere = benchOf();
  await elsewhere.accuse(2, posted[0]?.evidence ?? assert.fail());
  assert.deepEqual(
    elsewhere.desk.bans().map(({ node }) => node),
    [3],
    "others come to the same",
  );
});

test("a false word about a false accusation excludes its author here, and is spread to nobody", async () => {
  const { accuse, posted, desk } = benchOf();
  const accusationOf = decodeCanonical(signedAccusationSchema, accusation(2, doubleVote(5, "true")));
  const evidence = {
    type: "FalseAccusation",
    version: 1,
    manifestHash: manifestHash(genesis),
    accusation: accusationOf,
  } as Evidence;
  await accuse(3, evidence);
  assert.deepEqual(
    desk.bans().map(({ node, scope }) => [node, scope]),
    [[3, "local"]],
  );
  assert.deepEqual(posted, []);
});

test("a ban that would leave fewer than a quorum is withheld, and operators can see it", async () => {
  const { accuse, desk, facts } = benchOf();
  await accuse(2, doubleVote(5, "first"));
  await accuse(2, doubleVote(4, "second"));
  assert.deepEqual(
    desk.bans().map(({ node }) => node),
    [5],
  );
  assert.deepEqual(
    facts.filter(({ kind }) => kind === "ban-withheld").map(({ subject, data }) => [subject, data.usable]),
    [["4", 3]],
  );
});

test("evidence is judged by the manifest that it names, and nobody answers for who had its index before", async () => {
  const change = { sequence: 1, previous: manifestHash(genesis) };
  const successor = { ...testManifest(membersOf(nodes), change), cluster: genesis.cluster };
  const { accuse, desk } = benchOf(successor);
  await accuse(2, doubleVote(5, "before"));
  assert.deepEqual(
    desk.bans().map(({ node }) => node),
    [5],
  );
  const heirs = nodes.with(4, namedSigner("heir"));
  const replaced = { ...testManifest(membersOf(heirs), change), cluster: genesis.cluster };
  const later = benchOf(replaced);
  await later.accuse(2, doubleVote(5, "before"));
  assert.deepEqual([later.desk.bans(), later.disk.violations], [[], []]);
  const unknown = { ...doubleVote(5, "before"), manifestHash: "9".repeat(64) as ManifestHash };
  await assert.rejects(later.accuse(2, unknown), (error) => isCairnError(error, "wrong-manifest"));
});

test("whatever a banned node says is refused as NodeBanned before anybody looks at it", async () => {
  const { accuse, desk, loop, facts } = benchOf();
  await accuse(2, doubleVote(5, "first"));
  const modules = { loop, bans: desk, catchUp: { asksFor: () => false } };
  // No desk is there: whoever asked one would fail.
  const inbox = new PeerInbox(1 as NodeIndex, modules as unknown as PeerInboxModules);
  for (const kind of ["vote", "intent", "evidence", "proposal", "round"] as const) {
    const payload = Buffer.from("no message at all");
    await inbox.onMessage(5 as NodeIndex, { kind, session: null, round: 0, payload, trace: null });
  }
  const refusals = facts.filter(({ kind }) => kind === "message-refused").map(({ data }) => data.code);
  assert.deepEqual(refusals, Array(5).fill("NodeBanned"));
});
