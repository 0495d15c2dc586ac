import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AUDIT_ROOT,
  type AuditAnchor,
  type AuditEntry,
  type AuditFinding,
  AuditVerifier,
  auditAnchorLine,
  auditEntryHash,
  auditHeaderLine,
  auditManifestLine,
  type Checkpoint,
  checkpointHash,
  encodeCanonical,
  type HashHex,
  type KnownHeads,
  type SignedCheckpoint,
  signCheckpoint,
} from "../src/index.ts";
import { alterations } from "../test-support/index.ts";
import { hash, inForceOf, NOW, node, nodeKey } from "./small-cluster.ts";

const { manifest, manifestHash: trusted } = inForceOf();
const manifestLine = auditManifestLine({
  sequence: 0,
  hash: trusted,
  body: encodeCanonical({ manifest, signatures: [] }),
});

/** A log of node 2 after `before`. */
function logOf(length: number, name = "", before: readonly AuditEntry[] = []): AuditEntry[] {
  const entries = [...before];
  while (entries.length < length) {
    const last = entries.at(-1);
    entries.push({
      version: 1,
      cluster: manifest.cluster,
      node: node(2),
      seq: entries.length,
      previous: last === undefined ? AUDIT_ROOT : auditEntryHash(last),
      at: NOW,
      kind: "vote-cast",
      subject: `intent ${name}${entries.length}`,
      data: { round: 1, approve: true, reason: null },
    });
  }
  return entries;
}

const headHash = (entries: readonly AuditEntry[]): HashHex => {
  const last = entries.at(-1);
  return last === undefined ? AUDIT_ROOT : auditEntryHash(last);
};
const entryLine = (entry: AuditEntry, signer = nodeKey(2)) =>
  JSON.stringify({ entry, signature: signer.sign("cairn/audit/v1", entry) });

/** Checkpoints in which node 2 stands where each of `logs` ends, in the epoch that stands beside it. */
function checkpointsAt(
  logs: readonly { readonly log: readonly AuditEntry[]; readonly epoch?: number }[],
): SignedCheckpoint[] {
  const made: SignedCheckpoint[] = [];
  for (const { log, epoch = 0 } of logs) {
    const last = made.at(-1)?.checkpoint;
    const checkpoint: Checkpoint = {
      version: 1,
      cluster: manifest.cluster,
      manifestHash: trusted,
      sequence: made.length,
      previous: last === undefined ? null : checkpointHash(last),
      heads: [1, 2, 3, 4, 5].map((index) =>
        index === 2
          ? { node: node(2), epoch, length: log.length, hash: headHash(log) }
          : { node: node(index), epoch: 0, length: 0, hash: AUDIT_ROOT },
      ),
      createdAt: NOW,
    };
    made.push({
      checkpoint,
      signatures: [1, 3, 4, 5].map((index) => signCheckpoint(checkpoint, node(index), nodeKey(index))),
    });
  }
  return made;
}

interface Export {
  readonly header: string;
  readonly checkpoints: readonly string[];
  readonly entries: readonly string[];
}

function exportOf(log: readonly AuditEntry[], checkpoints: readonly SignedCheckpoint[] = []): Export {
  return {
    header: auditHeaderLine({
      cluster: manifest.cluster,
      node: node(2),
      length: log.length,
      head: headHash(log),
    }),
    checkpoints: checkpoints.map((checkpoint) => JSON.stringify({ checkpoint })),
    entries: log.map((entry) => entryLine(entry)),
  };
}

function verify({ header, checkpoints, entries }: Export, heads?: KnownHeads) {
  const verifier = new AuditVerifier({ trusted, ...(heads === undefined ? {} : { heads }) });
  for (const line of [header, manifestLine, ...checkpoints, ...entries]) verifier.line(line);
  return verifier.finish();
}

const found = (given: Export, heads?: KnownHeads): Pick<AuditFinding, "fault" | "seq"> | null => {
  const { finding } = verify(given, heads);
  return finding === null ? null : { fault: finding.fault, seq: finding.seq };
};

const log = logOf(12);
const checkpoints = checkpointsAt([{ log: log.slice(0, 4) }, { log: log.slice(0, 9) }]);
const good = exportOf(log, checkpoints);

test("a sound export verifies, and says how far checkpoints cover it", () => {
  const { finding, report } = verify(good);
  assert.equal(finding, null);
  assert.deepEqual(report, {
    node: 2,
    length: 12,
    head: headHash(log),
    checkpoints: 2,
    anchors: [],
    network: manifest.network,
    covered: 9,
    lostByRestore: [],
  });
  assert.equal(found(exportOf([])), null);
});

/** {@link good} with a line about an anchor of `checkpoint` after the checkpoints. */
function anchoring(checkpoint: SignedCheckpoint): Export {
  const anchor: AuditAnchor = { checkpoint, txid: hash("txid"), transaction: "00", inclusion: null };
  return { ...good, checkpoints: [...good.checkpoints, auditAnchorLine(anchor)] };
}

test("anchors of the cluster's checkpoints are told, also of one that the export itself does not hold", () => {
  const [, second = assert.fail()] = checkpoints;
  assert.deepEqual(
    verify(anchoring(second)).report?.anchors.map(({ checkpoint }) => checkpoint),
    [second],
  );
  const [other = assert.fail()] = checkpointsAt([{ log: log.slice(0, 11) }]);
  const { finding, report } = verify(anchoring(other));
  assert.equal(finding, null);
  assert.equal(report?.anchors.length, 1);
  assert.equal(report?.covered, 11, "its heads cover the log as those of any other");
});

test("an anchor of what no quorum signed is a fault, and one of a log that the node rewrote shows it", () => {
  const [first = assert.fail()] = checkpoints;
  const few = { ...first, signatures: first.signatures.slice(1) };
  assert.equal(found(anchoring(few))?.fault, "anchor");
  const altered = { ...first, checkpoint: { ...first.checkpoint, createdAt: (NOW + 1) as typeof NOW } };
  assert.equal(found(anchoring(altered))?.fault, "anchor");
  const [elsewhere = assert.fail()] = checkpointsAt([{ log: logOf(11, "another history") }]);
  assert.deepEqual(found(anchoring(elsewhere)), { fault: "forked", seq: 10 });
});

test("whichever leaf of whichever entry is altered, that entry is named", () => {
  fc.assert(
    fc.property(fc.nat(log.length - 1), fc.nat(1_000), (seq, pick) => {
      const line = JSON.parse(good.entries[seq] ?? "");
      const leaves = alterations(line);
      const { altered } = leaves[pick % leaves.length] ?? { altered: line };
      const entries = good.entries.with(seq, JSON.stringify(altered));
      assert.equal(found({ ...good, entries })?.seq, seq);
    }),
  );
});

test("whatever is left out, moved or doubled, the first entry that suffers is named", () => {
  fc.assert(
    fc.property(fc.nat(log.length - 1), fc.nat(log.length - 1), (a, b) => {
      const [first, later] = a < b ? [a, b] : [b, a];
      const without = good.entries.toSpliced(first, later - first + 1);
      assert.deepEqual(found({ ...good, entries: without }), { fault: "missing", seq: first });
      const cut = good.entries.slice(0, first);
      assert.deepEqual(found({ ...good, entries: cut }), { fault: "missing", seq: first });
      const doubled = good.entries.toSpliced(later + 1, 0, good.entries[first] ?? "");
      assert.deepEqual(found({ ...good, entries: doubled }), { fault: "repeated", seq: first });
      if (first === later) return;
      const swapped = good.entries
        .with(first, good.entries[later] ?? "")
        .with(later, good.entries[first] ?? "");
      assert.deepEqual(found({ ...good, entries: swapped }), { fault: "reordered", seq: first });
    }),
  );
});

test("a log that its node cut short, with a header to fit, ends before what the nodes co-signed", () => {
  assert.deepEqual(found(exportOf(log.slice(0, 8), checkpoints)), { fault: "missing", seq: 8 });
  assert.equal(found(exportOf(log.slice(0, 9), checkpoints)), null);
});

test("a second history, signed by the node, differs from what the nodes co-signed", () => {
  const other = logOf(12, "other ", log.slice(0, 6));
  assert.deepEqual(found(exportOf(other, checkpoints)), { fault: "forked", seq: 8 });
  const spliced = { ...good, entries: [...good.entries.slice(0, 7), ...exportOf(other).entries.slice(7)] };
  assert.deepEqual(found(spliced), { fault: "forked", seq: 7 });
  const second = { ...good, entries: good.entries.toSpliced(7, 0, exportOf(other).entries[6] ?? "") };
  assert.deepEqual(found(second), { fault: "forked", seq: 6 });
});

test("of several exports, each is held to the checkpoints of all", () => {
  const heads: KnownHeads = new Map();
  verify({ ...good, entries: [] }, heads);
  const alone = exportOf(log.slice(0, 5), checkpoints.slice(0, 1));
  assert.equal(found(alone), null);
  assert.deepEqual(found(alone, heads), { fault: "missing", seq: 5 });
});

test("entries that a restore lost are told, and are no fault once the epoch has risen", () => {
  const backup = log.slice(0, 6);
  const after = logOf(11, "restored ", backup);
  const made = checkpointsAt([{ log: log.slice(0, 9) }, { log: log }, { log: after.slice(0, 8), epoch: 1 }]);
  const { finding, report } = verify(exportOf(after, made));
  assert.equal(finding, null);
  assert.deepEqual(report?.lostByRestore, [9, 12]);
  assert.deepEqual(found(exportOf(after, made.slice(0, 2))), { fault: "forked", seq: 8 });
});

test("altered, forged and disordered checkpoints are refused", () => {
  const [first, second] = checkpoints;
  assert.ok(first && second);
  for (const { altered, path } of alterations(second)) {
    const lines = [JSON.stringify({ checkpoint: first }), JSON.stringify({ checkpoint: altered })];
    const finding = found({ ...good, checkpoints: lines });
    assert.ok(finding?.fault === "checkpoint" || finding?.fault === "malformed", path);
  }
  assert.equal(found({ ...good, checkpoints: good.checkpoints.toReversed() })?.fault, "checkpoint");
  const few = { ...second, signatures: second.signatures.slice(0, 3) };
  const lines = [good.checkpoints[0] ?? "", JSON.stringify({ checkpoint: few })];
  assert.equal(found({ ...good, checkpoints: lines })?.fault, "checkpoint");
});

test("nothing verifies without the trusted manifest, or for another node than the key's", () => {
  const verifier = new AuditVerifier({ trusted: hash("another") });
  for (const line of [good.header, manifestLine, ...good.entries]) verifier.line(line);
  assert.equal(verifier.finish().finding?.fault, "manifest");
  const bare = new AuditVerifier({ trusted });
  for (const line of [good.header, ...good.entries]) bare.line(line);
  assert.equal(bare.finish().finding?.fault, "manifest");
  const [entry] = log;
  assert.ok(entry);
  const forged = good.entries.with(0, entryLine(entry, nodeKey(3)));
  assert.deepEqual(found({ ...good, entries: forged }), { fault: "altered", seq: 0 });
  assert.equal(new AuditVerifier({ trusted }).finish().finding?.fault, "malformed");
});
