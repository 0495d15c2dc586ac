import {
  AUDIT_ROOT,
  type AuditHead,
  CairnError,
  type Checkpoint,
  type CheckpointProposal,
  type CheckpointSignature,
  type Clock,
  type Courier,
  checkpointHash,
  checkpointProposalSchema,
  checkpointSignatureSchema,
  decodeCanonical,
  encodeCanonical,
  headFollows,
  memberOf,
  type NodeIndex,
  type NodeStore,
  overlapQuorum,
  type SignatureHex,
  type SignedCheckpoint,
  type SignedFenceAnswer,
  type Signer,
  signCheckpoint,
  signedCheckpointSchema,
  type Timer,
  toHex,
  verifyCheckpoint,
  verifyCheckpointChain,
  verifyHeadsFollow,
  verifyMemberWord,
  verifySignature,
} from "@cairn/core";
import type { FenceDesk, SetBackAnswers } from "./fence-desk.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import type { OwnFence } from "./own-fence.ts";
import { peerMessage } from "./peer-message.ts";
import { unawaited } from "./unawaited.ts";

/** Longest wait for the peers' answers to the challenges before a proposal. */
const ANSWERS_MS = 2_000;
/** Looks at whether a checkpoint is due, for each period of them. */
const LOOKS = 20;
/** How long each member has for its proposal before the next one's turn. */
const TURN_MS = 3_000;

export interface CheckpointDeskOptions {
  readonly me: NodeIndex;
  readonly epoch: number;
  readonly clockSkewMs: number;
  /** Time between two checkpoints while logs grow. */
  readonly checkpointMs: number;
  /** New entries of one log after which a checkpoint is due earlier. */
  readonly checkpointEntries: number;
}

export interface CheckpointDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "auditHead" | "checkpointHead">;
  readonly courier: Pick<Courier, "send">;
  readonly book: ManifestBook;
  readonly fence: FenceDesk;
  readonly own: OwnFence;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly report: (cause: unknown) => void;
  /** A member signed two heads that contradict each other; both answers where both are known, which proves it to others. */
  readonly forked: (batch: Batch, node: NodeIndex, answers: SetBackAnswers | null) => void;
  readonly completed: (checkpoint: Checkpoint) => void;
}

interface OpenProposal {
  readonly checkpoint: Checkpoint;
  readonly hash: string;
  readonly signatures: Map<NodeIndex, SignatureHex>;
}

/** Has the members co-sign where all audit logs stand, so that none can be shortened or rewritten unnoticed. */
export class CheckpointDesk {
  readonly #options: CheckpointDeskOptions;
  readonly #modules: CheckpointDeskModules;
  readonly #newest: Cell<SignedCheckpoint | null> = { value: null };
  #open: OpenProposal | null = null;
  /** Since when the next one is due, or null. */
  #dueSince: number | null = null;
  #startedAt = 0;
  #timer: Timer | null = null;
  #closed = false;

  constructor(options: CheckpointDeskOptions, modules: CheckpointDeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  async restore(): Promise<void> {
    const row = await this.#modules.store.checkpointHead();
    if (row !== null) this.#newest.value = decodeCanonical(signedCheckpointSchema, row.body);
  }

  start(): void {
    this.#startedAt = this.#modules.clock.now();
    this.#arm();
  }

  get newest(): SignedCheckpoint | null {
    return this.#newest.value;
  }

  /** A member asks for this node's signature. */
  async onProposal(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { own, signer, courier } = this.#modules;
    const { me } = this.#options;
    own.refuseRolledBack();
    const proposal = decodeCanonical(checkpointProposalSchema, payload);
    const { checkpoint, previous, signature } = proposal;
    const { manifest, manifestHash } = this.#modules.book;
    if (checkpoint.cluster !== manifest.cluster)
      throw new CairnError("wrong-cluster", "the checkpoint is of another cluster", { from });
    if (checkpoint.manifestHash !== manifestHash)
      throw new CairnError("wrong-manifest", "the checkpoint is made under another manifest", { from });
    const key = memberOf(manifest, from).identity;
    if (!verifySignature("cairn/checkpoint/v1", checkpoint, key, signature))
      throw new CairnError("signature-invalid", "the proposer did not sign its checkpoint", { from });
    if (previous !== null) await this.#adopt(previous);
    // Two proposals crossed, or a checkpoint is still on its way to one of the two nodes: another turn will come.
    if (!this.#follows(checkpoint)) return;
    this.#checkPlace(checkpoint);
    await this.#checkHeads(from, proposal);
    const answer: CheckpointSignature = {
      version: 1,
      checkpoint: checkpointHash(checkpoint),
      signature: signCheckpoint(checkpoint, me, signer).signature,
    };
    courier.send(from, peerMessage("checkpoint-signature", encodeCanonical(answer)));
  }

  /** A member co-signs what this node proposed; later than that it counts for nothing. */
  async onSignature(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { checkpoint: hash, signature } = decodeCanonical(checkpointSignatureSchema, payload);
    const open = this.#open;
    if (open?.hash !== hash) return;
    const { manifest } = this.#modules.book;
    const key = memberOf(manifest, from).identity;
    if (!verifySignature("cairn/checkpoint/v1", open.checkpoint, key, signature))
      throw new CairnError("signature-invalid", "the member did not sign the checkpoint", { from });
    open.signatures.set(from, signature);
    if (open.signatures.size < overlapQuorum(manifest.members.length)) return;
    this.#open = null;
    const signatures = [...open.signatures].map(([node, word]) => ({ node, signature: word }));
    const signed = { checkpoint: open.checkpoint, signatures: signatures.sort((a, b) => a.node - b.node) };
    await this.#modules.loop.run((batch) => {
      this.#keep(batch, signed);
      batch.post(
        otherMembers(manifest, this.#options.me),
        `checkpoint/${hash}`,
        peerMessage("checkpoint", encodeCanonical(signed)),
      );
    });
  }

  /** A checkpoint that is complete. */
  onCheckpoint(payload: Uint8Array): Promise<void> {
    return this.#adopt(decodeCanonical(signedCheckpointSchema, payload));
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    if (this.#closed) return;
    const delay = Math.max(50, Math.floor(this.#options.checkpointMs / LOOKS));
    this.#timer = this.#modules.clock.after(delay, () => {
      unawaited(
        this.#look().finally(() => this.#arm()),
        this.#modules.report,
      );
    });
  }

  /** Takes this node's turn when a checkpoint is due. */
  async #look(): Promise<void> {
    const { own, clock, book } = this.#modules;
    const { me } = this.#options;
    const now = clock.now();
    if (!own.admits || !(await this.#isDue(now))) {
      this.#dueSince = null;
      return;
    }
    this.#dueSince ??= now;
    // The others' turns come one after another, in case the one before is away; then it is the first one's again.
    const total = book.manifest.members.length;
    const sequence = this.#newest.value === null ? 0 : this.#newest.value.checkpoint.sequence + 1;
    const turn = (((me - 1 - sequence) % total) + total) % total;
    if (now - this.#dueSince < turn * TURN_MS) return;
    this.#dueSince = now + (total - turn) * TURN_MS;
    await this.#propose();
  }

  async #isDue(now: number): Promise<boolean> {
    const { checkpointMs, checkpointEntries, me } = this.#options;
    const before = this.#newest.value?.checkpoint ?? null;
    const heads = await this.#heads();
    const grown = heads.filter((head) => !sameHead(head, headOf(before, head.node)));
    if (grown.length === 0) return false;
    const own = heads[me - 1];
    const since = before === null ? this.#startedAt : before.createdAt;
    return now - since >= checkpointMs || (own?.length ?? 0) - headOf(before, me).length >= checkpointEntries;
  }

  async #propose(): Promise<void> {
    const { fence, book, signer, clock, courier } = this.#modules;
    const { me } = this.#options;
    await fence.refresh(ANSWERS_MS);
    const previous = this.#newest.value;
    const heads = await this.#heads();
    const { manifest, manifestHash } = book;
    const checkpoint: Checkpoint = {
      version: 1,
      cluster: manifest.cluster,
      manifestHash,
      sequence: previous === null ? 0 : previous.checkpoint.sequence + 1,
      previous: previous === null ? null : checkpointHash(previous.checkpoint),
      heads: [...heads],
      createdAt: clock.now(),
    };
    const { signature } = signCheckpoint(checkpoint, me, signer);
    const proofs = fence
      .records()
      .filter(({ body }) => !sameHead(heads[body.node - 1], headOf(previous?.checkpoint ?? null, body.node)));
    const proposal: CheckpointProposal = { version: 1, checkpoint, signature, previous, heads: [...proofs] };
    this.#open = { checkpoint, hash: checkpointHash(checkpoint), signatures: new Map([[me, signature]]) };
    const message = peerMessage("checkpoint-proposal", encodeCanonical(proposal));
    for (const node of otherMembers(manifest, me)) courier.send(node, message);
  }

  /** Where all logs stand, as far as this node can show: its own, the peers' newest answers, and else what was co-signed before. */
  async #heads(): Promise<readonly AuditHead[]> {
    const { book, fence, store } = this.#modules;
    const { me, epoch } = this.#options;
    const before = this.#newest.value?.checkpoint ?? null;
    const own = await store.auditHead();
    const known = new Map(fence.records().map(({ body }) => [body.node, headOfAnswer(body)]));
    known.set(me, { node: me, epoch, length: own === null ? 0 : own.seq + 1, hash: own?.hash ?? AUDIT_ROOT });
    return book.manifest.members.map(({ index }) => {
      const last = headOf(before, index);
      const now = known.get(index);
      return now !== undefined && headFollows(now, last) ? now : last;
    });
  }

  #follows(checkpoint: Checkpoint): boolean {
    const newest = this.#newest.value;
    return checkpoint.previous === (newest === null ? null : checkpointHash(newest.checkpoint));
  }

  /** @throws CairnError `audit-broken`, `clock-skew` */
  #checkPlace(checkpoint: Checkpoint): void {
    const { clock, book } = this.#modules;
    const newest = this.#newest.value;
    if (newest !== null) {
      const { manifest } = book.under(newest.checkpoint.manifestHash);
      verifyCheckpointChain(
        { checkpoint: newest.checkpoint, manifest },
        { checkpoint, manifest: book.manifest },
      );
    }
    if (Math.abs(checkpoint.createdAt - clock.now()) > this.#options.clockSkewMs)
      throw new CairnError("clock-skew", "the checkpoint's time is not this node's", {});
  }

  /** Every head is its member's own word, or was co-signed before, or is found in this node's log. */
  async #checkHeads(from: NodeIndex, { checkpoint, heads: proofs }: CheckpointProposal): Promise<void> {
    const { own, fence, book } = this.#modules;
    const { me, epoch } = this.#options;
    const before = this.#newest.value?.checkpoint ?? null;
    if (checkpoint.heads.length !== book.manifest.members.length)
      throw new CairnError("malformed", "the checkpoint does not name one head for every member", { from });
    const records = new Map(fence.records().map((record) => [record.body.node, record]));
    for (const head of checkpoint.heads) {
      if (sameHead(head, headOf(before, head.node))) continue;
      const refuse = () =>
        new CairnError("audit-broken", `the checkpoint's head of node ${head.node} is not its own`, {
          node: head.node,
        });
      if (head.node === me) {
        if (head.epoch !== epoch || (await own.hashAt(head.length)) !== head.hash) throw refuse();
        continue;
      }
      const proof = proofs.find(({ body }) => body.node === head.node) ?? null;
      if (head.node !== from) {
        if (proof === null || !sameHead(headOfAnswer(proof.body), head)) throw refuse();
        verifyMemberWord("cairn/fence/v1", proof, head.node, book.manifest);
      }
      const record = records.get(head.node);
      if (record !== undefined && contradicts(headOfAnswer(record.body), head)) {
        await this.#fork(head.node, record, proof ?? checkpoint);
        throw refuse();
      }
    }
  }

  /** Two words of a member that cannot both be true: kept as they are, signed by itself. */
  #fork(node: NodeIndex, known: SignedFenceAnswer, other: SignedFenceAnswer | Checkpoint): Promise<void> {
    return this.#modules.loop.run((batch) => {
      batch.audit("peer-forked", String(node), {
        known: toHex(encodeCanonical(known)),
        other: toHex(encodeCanonical(other)),
      });
      this.#modules.forked(batch, node, "body" in other ? [known, other] : null);
    });
  }

  /** Takes over a complete checkpoint where it is newer, or of the same number with the lower hash. */
  async #adopt(signed: SignedCheckpoint): Promise<void> {
    const { book, loop } = this.#modules;
    const { checkpoint } = signed;
    if (!this.#isNewer(checkpoint)) return;
    const link = book.under(checkpoint.manifestHash);
    verifyCheckpoint(signed, { manifest: link.manifest, manifestHash: checkpoint.manifestHash });
    const newest = this.#newest.value?.checkpoint;
    if (newest !== undefined && checkpoint.sequence > newest.sequence) {
      const { manifest } = book.under(newest.manifestHash);
      verifyHeadsFollow({ checkpoint: newest, manifest }, { checkpoint, manifest: link.manifest });
    }
    await loop.run((batch) => {
      if (this.#isNewer(checkpoint)) this.#keep(batch, signed);
    });
  }

  #isNewer(checkpoint: Checkpoint): boolean {
    const newest = this.#newest.value?.checkpoint;
    if (newest === undefined) return true;
    if (checkpoint.sequence !== newest.sequence) return checkpoint.sequence > newest.sequence;
    return checkpointHash(checkpoint) < checkpointHash(newest);
  }

  #keep(batch: Batch, signed: SignedCheckpoint): void {
    const { checkpoint } = signed;
    batch.assign(this.#newest, signed);
    const row = {
      sequence: checkpoint.sequence,
      hash: checkpointHash(checkpoint),
      body: encodeCanonical(signed),
    };
    batch.write({ write: "checkpoint", row });
    batch.afterwards(() => this.#modules.completed(checkpoint));
  }
}

function headOf(checkpoint: Checkpoint | null, node: NodeIndex): AuditHead {
  return checkpoint?.heads[node - 1] ?? { node, epoch: 0, length: 0, hash: AUDIT_ROOT };
}

function headOfAnswer({ node, position, auditHead }: SignedFenceAnswer["body"]): AuditHead {
  return { node, epoch: position.epoch, length: position.auditLength, hash: auditHead };
}

function sameHead(a: AuditHead | undefined, b: AuditHead): boolean {
  return a !== undefined && a.epoch === b.epoch && a.length === b.length && a.hash === b.hash;
}

function contradicts(a: AuditHead, b: AuditHead): boolean {
  return a.epoch === b.epoch && a.length === b.length && a.hash !== b.hash;
}
