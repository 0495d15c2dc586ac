import { AUDIT_ROOT, type AuditEntry, auditEntryHash } from "./audit.ts";
import {
  type AuditAnchor,
  type AuditExportHeader,
  type AuditExportLine,
  auditExportLineSchema,
} from "./audit-export.ts";
import { decodeCanonical, parseShape } from "./canonical.ts";
import {
  type AuditHead,
  type PlacedCheckpoint,
  type SignedCheckpoint,
  verifyCheckpoint,
  verifyCheckpointChain,
  verifyHeadsFollow,
} from "./checkpoint.ts";
import { isCairnError } from "./error.ts";
import { verifySignature } from "./identity.ts";
import type { HashHex, ManifestHash, NodeIndex, SignatureHex } from "./ids.ts";
import { type Manifest, manifestHash, memberOf, requireOperators, signedManifestSchema } from "./manifest.ts";
import type { Network } from "./network.ts";
import { checkSuccessor, successorMode } from "./successor.ts";

/**
 * `malformed`: a line that is none of an export's. `manifest`: the manifests do not lead to or from the trusted one. `checkpoint`: one
 * is not what its nodes signed, or does not follow the one before. `anchor`: one is of no checkpoint of the cluster. `foreign`: another node's or cluster's entry. `altered`: an entry
 * is not what the node signed. `missing`: it is not there. `reordered`: it is, but later. `repeated`: it is there again. `forked`: the
 * node signed another history than this one, or than the checkpoints name.
 */
export type AuditExportFault =
  | "malformed"
  | "manifest"
  | "checkpoint"
  | "anchor"
  | "foreign"
  | "altered"
  | "missing"
  | "reordered"
  | "repeated"
  | "forked";

/** The first thing that is wrong with an export. */
export interface AuditFinding {
  readonly node: NodeIndex | null;
  readonly fault: AuditExportFault;
  /** Sequence number of the first entry that is wrong or not there; null where it is no entry. */
  readonly seq: number | null;
  /** Line of the file, from 1. */
  readonly line: number;
  readonly message: string;
}

export interface AuditReport {
  readonly node: NodeIndex;
  readonly length: number;
  readonly head: HashHex;
  readonly checkpoints: number;
  /** Of checkpoints whose signatures are right. Transactions and blocks are not looked at here: that is the business of who knows Bitcoin. */
  readonly anchors: readonly AuditAnchor[];
  /** Whose chain the anchors are on; null where no manifest could be read. */
  readonly network: Network | null;
  /** Entries that a checkpoint covers: what comes after could still be cut off unnoticed. */
  readonly covered: number;
  /** Lengths that checkpoints name and that a restore, with a raised epoch, has undone since. */
  readonly lostByRestore: readonly number[];
}

/** Heads that logs must hold, by node, then by length: what verified checkpoints name. Shared by the exports that are compared. */
export type KnownHeads = Map<NodeIndex, Map<number, AuditHead>>;

/**
 * Verifies one export, line by line, against nothing but a manifest hash that is trusted. Memory grows with the checkpoints, not with
 * the entries.
 *
 * ```ts
 * const verifier = new AuditVerifier({ trusted });
 * for await (const line of lines) verifier.line(line);
 * const { finding, report } = verifier.finish();
 * ```
 */
export class AuditVerifier {
  readonly #trusted: ManifestHash;
  readonly #heads: KnownHeads;
  #line = 0;
  #header: AuditExportHeader | null = null;
  readonly #manifests: { readonly manifest: Manifest; readonly hash: ManifestHash }[] = [];
  #key = 0;
  #newest: PlacedCheckpoint | null = null;
  #checkpoints = 0;
  readonly #anchors: AuditAnchor[] = [];
  #entries = 0;
  #head: HashHex = AUDIT_ROOT;
  /** Where the log and a checkpoint differ: held until the end, since a later epoch may explain it. */
  readonly #unmatched: { readonly head: AuditHead; readonly found: HashHex | null; readonly line: number }[] =
    [];
  #covered = 0;
  /** An entry that is not where it belongs: it may come later. */
  #gap: { readonly seq: number; readonly line: number } | null = null;
  #finding: AuditFinding | null = null;

  /** @param options `heads` collects what this export's checkpoints name, and holds what others' do */
  constructor(options: { readonly trusted: ManifestHash; readonly heads?: KnownHeads }) {
    this.#trusted = options.trusted;
    this.#heads = options.heads ?? new Map();
  }

  /** Takes the next line. @returns whether the entries have begun, so that all checkpoints are known */
  line(text: string): boolean {
    this.#line += 1;
    if (this.#finding !== null) return this.#entries > 0;
    let read: AuditExportLine;
    try {
      read = parseShape(auditExportLineSchema, JSON.parse(text));
    } catch (error) {
      if (!isCairnError(error) && !(error instanceof SyntaxError)) throw error;
      this.#fail("malformed", this.#entries, "the line is none of an audit export");
      return false;
    }
    if ("export" in read) this.#takeHeader(read);
    else if (this.#header === null)
      this.#fail("malformed", null, "the export does not begin with its header");
    else if ("manifest" in read) this.#takeManifest(read.manifest);
    else if ("checkpoint" in read) this.#takeCheckpoint(read.checkpoint);
    else if ("anchor" in read) this.#takeAnchor(read.anchor);
    else {
      this.#takeEntry(read.entry, read.signature);
      return true;
    }
    return false;
  }

  /** What is wrong first, or null; and what the export holds, where its header could be read. */
  finish(): { readonly finding: AuditFinding | null; readonly report: AuditReport | null } {
    const header = this.#header;
    if (header === null) {
      if (this.#finding === null) this.#fail("malformed", null, "the export is empty");
      return { finding: this.#finding, report: null };
    }
    const gap = this.#gap;
    if (this.#finding === null) this.#isFounded();
    if (gap !== null && this.#finding === null)
      this.#failAt(gap.line, "missing", gap.seq, `entry ${gap.seq} is not there`);
    const lost = this.#judgeHeads(header.node);
    if (this.#finding === null && (this.#entries !== header.length || this.#head !== header.head))
      this.#fail(
        "missing",
        this.#entries,
        `the export does not hold the ${header.length} entries that it announces`,
      );
    const report: AuditReport = {
      node: header.node,
      length: this.#entries,
      head: this.#head,
      checkpoints: this.#checkpoints,
      anchors: this.#anchors,
      network: this.#manifests.at(-1)?.manifest.network ?? null,
      covered: this.#covered,
      lostByRestore: lost,
    };
    return { finding: this.#finding, report };
  }

  #takeHeader(header: AuditExportHeader): void {
    if (this.#header !== null) this.#fail("malformed", this.#entries, "a second header");
    else this.#header = header;
  }

  #takeManifest(base64: string): void {
    const last = this.#manifests.at(-1)?.manifest;
    try {
      const { manifest, signatures } = decodeCanonical(signedManifestSchema, Buffer.from(base64, "base64"));
      const hash = manifestHash(manifest);
      if (last === undefined ? manifest.sequence !== 0 : manifest.previous !== manifestHash(last))
        return this.#fail("manifest", null, "the manifests are no chain from the genesis");
      // Before the trusted one the hashes prove each; after it, the operators' signatures do.
      if (last !== undefined && this.#trusts()) {
        checkSuccessor(last, manifest, false);
        const mode = last.modes[successorMode(last, manifest)];
        requireOperators(last, mode, "cairn/manifest/v1", manifest, signatures);
      }
      this.#manifests.push({ manifest, hash });
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.#fail("manifest", null, error.message);
    }
  }

  #trusts(): boolean {
    return this.#manifests.some(({ hash }) => hash === this.#trusted);
  }

  /** Whether the manifests that came are the cluster's own. */
  #isFounded(): boolean {
    const manifest = this.#manifests.at(-1)?.manifest;
    if (!this.#trusts() || manifest === undefined)
      this.#fail("manifest", null, "the trusted manifest is not among the export's");
    else if (this.#header?.cluster !== manifest.cluster)
      this.#fail("foreign", null, "another cluster's export");
    return this.#finding === null;
  }

  #takeCheckpoint(signed: SignedCheckpoint): void {
    if (!this.#isFounded()) return;
    const { checkpoint } = signed;
    const link = this.#manifests.find(({ hash }) => hash === checkpoint.manifestHash);
    try {
      if (link === undefined) return this.#fail("checkpoint", null, "made under no manifest of the export");
      verifyCheckpoint(signed, { manifest: link.manifest, manifestHash: link.hash });
      const placed = { checkpoint, manifest: link.manifest };
      const before = this.#newest;
      if (before !== null && checkpoint.sequence === before.checkpoint.sequence + 1)
        verifyCheckpointChain(before, placed);
      else if (before !== null && checkpoint.sequence > before.checkpoint.sequence)
        verifyHeadsFollow(before, placed);
      else if (before !== null) return this.#fail("checkpoint", null, "checkpoints are not in order");
      this.#newest = placed;
      this.#checkpoints += 1;
      for (const head of checkpoint.heads) this.#remember(head);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.#fail("checkpoint", null, `checkpoint ${checkpoint.sequence}: ${error.message}`);
    }
  }

  /** The checkpoint need not be among the export's: of two with one number, nodes keep one, and either may be anchored. */
  #takeAnchor(anchor: AuditAnchor): void {
    if (!this.#isFounded()) return;
    const { checkpoint } = anchor.checkpoint;
    const link = this.#manifests.find(({ hash }) => hash === checkpoint.manifestHash);
    try {
      if (link === undefined)
        return this.#fail("anchor", null, "its checkpoint was made under no manifest of the export");
      verifyCheckpoint(anchor.checkpoint, { manifest: link.manifest, manifestHash: link.hash });
      this.#anchors.push(anchor);
      for (const head of checkpoint.heads) this.#remember(head);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.#fail("anchor", null, `the anchor ${anchor.txid}: ${error.message}`);
    }
  }

  #remember(head: AuditHead): void {
    const heads = this.#heads.get(head.node) ?? new Map<number, AuditHead>();
    this.#heads.set(head.node, heads);
    const known = heads.get(head.length);
    if (known === undefined || known.epoch < head.epoch) heads.set(head.length, head);
  }

  #takeEntry(entry: AuditEntry, signature: SignatureHex): void {
    const header = this.#header;
    if (header === null || (this.#entries === 0 && !this.#isFounded())) return;
    const { seq } = entry;
    if (this.#gap !== null) {
      if (seq === this.#gap.seq)
        this.#failAt(this.#gap.line, "reordered", seq, `entry ${seq} stands after later ones`);
      return;
    }
    if (entry.cluster !== header.cluster || entry.node !== header.node)
      return this.#fail("foreign", this.#entries, "another node's entry");
    if (!this.#isSigned(entry, signature))
      return this.#fail("altered", this.#entries, "the entry is not what its node signed");
    if (seq > this.#entries) {
      this.#gap = { seq: this.#entries, line: this.#line };
      return;
    }
    const hash = auditEntryHash(entry);
    if (seq < this.#entries) {
      const second = seq === this.#entries - 1 && hash !== this.#head;
      return this.#fail(second ? "forked" : "repeated", seq, `entry ${seq} is there a second time`);
    }
    if (entry.previous !== this.#head)
      return this.#fail("forked", seq, `entry ${seq} continues another history than the entries before it`);
    this.#head = hash;
    this.#entries += 1;
    const known = this.#heads.get(header.node)?.get(this.#entries);
    if (known === undefined) return;
    if (known.hash === hash) this.#covered = this.#entries;
    else this.#unmatched.push({ head: known, found: hash, line: this.#line });
  }

  #isSigned(entry: AuditEntry, signature: SignatureHex): boolean {
    // A node's key changes with a manifest; from then on the earlier key signs nothing.
    for (let at = this.#key; at < this.#manifests.length; at += 1) {
      const manifest = this.#manifests[at]?.manifest;
      if (manifest === undefined || manifest.members[entry.node - 1] === undefined) continue;
      if (!verifySignature("cairn/audit/v1", entry, memberOf(manifest, entry.node).identity, signature))
        continue;
      this.#key = at;
      return true;
    }
    return false;
  }

  /** Holds what checkpoints name against the log. Of a node that was restored since, earlier epochs explain themselves. */
  #judgeHeads(node: NodeIndex): readonly number[] {
    const heads = [...(this.#heads.get(node)?.values() ?? [])].filter(({ length }) => length > 0);
    const epoch = Math.max(0, ...heads.map((head) => head.epoch));
    const beyond = heads.filter(({ length }) => length > this.#entries);
    const lost = [
      ...this.#unmatched.filter(({ head }) => head.epoch < epoch).map(({ head }) => head.length),
      ...beyond.filter((head) => head.epoch < epoch).map(({ length }) => length),
    ];
    const [wrong] = this.#unmatched.filter(({ head }) => head.epoch === epoch);
    if (wrong !== undefined && (this.#finding?.seq ?? Number.POSITIVE_INFINITY) >= wrong.head.length) {
      const seq = wrong.head.length - 1;
      this.#failAt(wrong.line, "forked", seq, `entry ${seq} is another than the nodes co-signed`);
    }
    if (this.#finding === null && beyond.some((head) => head.epoch === epoch)) {
      const length = Math.max(...beyond.map((head) => head.length));
      this.#fail(
        "missing",
        this.#entries,
        `the nodes co-signed a log of ${length} entries; this one ends before`,
      );
    }
    return lost;
  }

  #fail(fault: AuditExportFault, seq: number | null, message: string): void {
    this.#failAt(this.#line, fault, seq, message);
  }

  #failAt(line: number, fault: AuditExportFault, seq: number | null, message: string): void {
    this.#finding = { node: this.#header?.node ?? null, fault, seq, line, message };
  }
}
