import {
  CairnError,
  type Clock,
  type Courier,
  compareFence,
  decodeCanonical,
  encodeCanonical,
  type FenceChallenge,
  fenceChallengeSchema,
  judgeFence,
  type NodeIndex,
  type NodeStore,
  type Nonce,
  type PeerStatus,
  type Random,
  type SetBack,
  type SignedFenceAnswer,
  signedFenceAnswerSchema,
  type Timer,
  toHex,
  verifyFenceAnswer,
} from "@cairn/core";
import type { Batch, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import type { OwnFence } from "./own-fence.ts";
import { peerMessage } from "./peer-message.ts";

/** First wait for an answer before the next challenge: longer than a node that crashed refuses what its peers sent before it heard of them. It doubles. */
const ANSWER_MS = 1_500;
/** Longest that a proposal waits for its signers' answers: they follow a connection within one round trip. */
const SETTLE_MS = 1_000;

export interface FenceDeskOptions {
  readonly me: NodeIndex;
  readonly book: Pick<InForce, "manifest">;
  /** Time between two challenges to a peer that is up. */
  readonly fenceMs: number;
}

export interface FenceDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "nodeStatuses">;
  readonly courier: Pick<Courier, "send">;
  readonly own: OwnFence;
  readonly clock: Clock;
  readonly random: Random;
  /** A peer answered as it should, for the first time on this connection. */
  readonly current: (node: NodeIndex) => void;
  /** A peer answered from a state that it was set back to, or that contradicts what it signed before. */
  readonly setBack: (batch: Batch, node: NodeIndex, judged: SetBack, answers: SetBackAnswers) => void;
}

/** Two answers of one node, of which the later denies the earlier. */
export type SetBackAnswers = readonly [earlier: SignedFenceAnswer, later: SignedFenceAnswer];

interface Peer {
  /** What it is held to: its newest answer that was accepted. */
  record: SignedFenceAnswer | null;
  standing: "down" | "asked" | "current" | "refused";
  /** Nonce of the record that it was last found behind: each is reported once. */
  reported: Nonce | null;
  open: FenceChallenge | null;
  /** Challenges since its last answer. */
  unanswered: number;
  timer: Timer | null;
  /** Told at the next answer. */
  waiting: (() => void)[];
}

/** Asks each peer how far it is and holds it to the highest that it ever answered (architecture §7). */
export class FenceDesk {
  readonly #options: FenceDeskOptions;
  readonly #modules: FenceDeskModules;
  readonly #peers: ReadonlyMap<NodeIndex, Peer>;
  #closed = false;

  constructor(options: FenceDeskOptions, modules: FenceDeskModules) {
    this.#options = options;
    this.#modules = modules;
    const peer = (): Peer => ({
      record: null,
      standing: "down",
      reported: null,
      open: null,
      unanswered: 0,
      timer: null,
      waiting: [],
    });
    this.#peers = new Map(otherMembers(options.book.manifest, options.me).map((node) => [node, peer()]));
  }

  async restore(): Promise<void> {
    for (const { node, answer } of await this.#modules.store.nodeStatuses()) {
      const peer = this.#peers.get(node);
      if (peer !== undefined) peer.record = decodeCanonical(signedFenceAnswerSchema, answer);
    }
  }

  /** The transport says that a peer came up or went down. */
  peer({ node, up }: PeerStatus): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    peer.timer?.cancel();
    peer.open = null;
    peer.unanswered = 0;
    peer.standing = up ? "asked" : "down";
    if (up) this.#challenge(node, peer);
  }

  isCurrent(node: NodeIndex): boolean {
    return this.#peers.get(node)?.standing === "current";
  }

  /** Peers that were set back. */
  refused(): readonly NodeIndex[] {
    return [...this.#peers].filter(([, { standing }]) => standing === "refused").map(([node]) => node);
  }

  /** What peers answered last, of those that were accepted. */
  records(): readonly SignedFenceAnswer[] {
    return [...this.#peers.values()].flatMap(({ record }) => (record === null ? [] : [record]));
  }

  /** @throws CairnError `rolled-back` where the peer was set back */
  refuseSetBack(node: NodeIndex): void {
    if (this.#peers.get(node)?.standing !== "refused") return;
    throw new CairnError(
      "rolled-back",
      `node ${node} was set back to an earlier state; its operator puts its newest files back or raises its epoch`,
      { node },
    );
  }

  /** Asks all peers that are up, and resolves when they have answered or `withinMs` are over. */
  async refresh(withinMs: number): Promise<void> {
    const up = [...this.#peers].filter(([, { standing }]) => standing !== "down");
    await Promise.all(
      up.map(([node, peer]) => {
        const answered = this.#answered(peer, withinMs);
        // One that is open already is answered as well, and asking again would only make that answer late.
        if (peer.open === null) this.#challenge(node, peer);
        return answered;
      }),
    );
  }

  /**
   * Resolves when this node may act and all of `nodes` have answered as they should.
   * @throws CairnError `rolled-back` where one was set back, `busy` where one does not answer
   */
  async admit(nodes: readonly NodeIndex[]): Promise<void> {
    await this.#mayAct();
    for (const node of nodes) {
      const peer = this.#peers.get(node);
      if (peer === undefined || peer.standing === "current") continue;
      if (peer.standing !== "refused") await this.#answered(peer, SETTLE_MS);
      this.refuseSetBack(node);
      if (!this.isCurrent(node))
        throw new CairnError("busy", `node ${node} has not said yet how far it is`, { node });
    }
  }

  async onChallenge(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const challenge = decodeCanonical(fenceChallengeSchema, payload);
    if (challenge.cluster !== this.#options.book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the fence challenge is of another cluster", { from });
    const answer = await this.#modules.own.answer(from, challenge);
    this.#modules.courier.send(from, peerMessage("fence-answer", encodeCanonical(answer)));
  }

  async onAnswer(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const peer = this.#peers.get(from);
    const signed = decodeCanonical(signedFenceAnswerSchema, payload);
    const challenge = peer?.open ?? null;
    if (peer === undefined || challenge === null)
      throw new CairnError("replayed", "the fence answer belongs to no challenge that is open", { from });
    verifyFenceAnswer(signed, challenge, this.#options.book.manifest);
    peer.open = null;
    peer.unanswered = 0;
    const known = challenge.remembered;
    const judged = judgeFence(known?.body ?? null, signed.body);
    if (judged !== "current") return this.#refuse(from, peer, judged, known, signed);
    if (known === null || !sameStanding(known, signed)) await this.#remember(from, signed);
    peer.record = signed;
    this.#settle(peer, "current", () => this.#modules.current(from));
    this.#again(from, peer, this.#options.fenceMs);
  }

  /**
   * Somebody else proved that the node was once further than this node knew: it is held to that from now on, and refused until it answers
   * so. One that has mended what was set back does so at once.
   */
  async hold(node: NodeIndex, earlier: SignedFenceAnswer): Promise<void> {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    const known = peer.record;
    if (known !== null && compareFence(earlier.body.position, known.body.position) <= 0) return;
    await this.#remember(node, earlier);
    peer.record = earlier;
    if (peer.standing === "down") return;
    this.#settle(peer, "refused", () => {});
    this.#challenge(node, peer);
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#peers.values()) timer?.cancel();
  }

  async #refuse(
    node: NodeIndex,
    peer: Peer,
    judged: SetBack,
    known: SignedFenceAnswer | null,
    answer: SignedFenceAnswer,
  ): Promise<void> {
    if (known !== null && peer.reported !== known.body.nonce) {
      peer.reported = known.body.nonce;
      await this.#modules.loop.run((batch) => {
        // Both words stay: two that contradict each other are the node's own proof against itself.
        batch.audit("peer-set-back", String(node), {
          judged,
          remembered: toHex(encodeCanonical(known)),
          answer: toHex(encodeCanonical(answer)),
        });
        this.#modules.setBack(batch, node, judged, [known, answer]);
      });
    }
    this.#settle(peer, "refused", () => {});
    this.#again(node, peer, this.#options.fenceMs);
  }

  /** Durable before it counts: what is believed of the peer next must not be less. */
  #remember(node: NodeIndex, signed: SignedFenceAnswer): Promise<void> {
    const { position, auditHead } = signed.body;
    return this.#modules.loop.run((batch) =>
      batch.write({
        write: "node-status",
        row: {
          node,
          lastSeen: this.#modules.clock.now(),
          ...position,
          auditHead,
          answer: encodeCanonical(signed),
        },
      }),
    );
  }

  async #mayAct(): Promise<void> {
    const { own, clock } = this.#modules;
    own.refuseRolledBack();
    if (own.admits) return;
    await Promise.race([own.admitted(), new Promise<void>((resolve) => clock.after(SETTLE_MS, resolve))]);
    if (!own.admits) throw new CairnError("busy", "this node has not heard yet whether it was set back");
  }

  #settle(peer: Peer, standing: "current" | "refused", changed: () => void): void {
    // The connection may have dropped while the record was written.
    if (peer.standing === "down") return;
    const before = peer.standing;
    peer.standing = standing;
    for (const tell of peer.waiting.splice(0)) tell();
    if (before !== standing) changed();
  }

  #challenge(node: NodeIndex, peer: Peer): void {
    if (this.#closed) return;
    const { me, book } = this.#options;
    const { manifest } = book;
    const { courier, random } = this.#modules;
    peer.open = {
      version: 1,
      cluster: manifest.cluster,
      challenger: me,
      node,
      nonce: toHex(random.bytes(32)) as Nonce,
      remembered: peer.record,
    };
    courier.send(node, peerMessage("fence-challenge", encodeCanonical(peer.open)));
    this.#again(node, peer, Math.min(this.#options.fenceMs, ANSWER_MS * 2 ** peer.unanswered));
    peer.unanswered = Math.min(peer.unanswered + 1, 10);
  }

  #again(node: NodeIndex, peer: Peer, delayMs: number): void {
    peer.timer?.cancel();
    if (this.#closed || peer.standing === "down") return;
    peer.timer = this.#modules.clock.after(delayMs, () => this.#challenge(node, peer));
  }

  #answered(peer: Peer, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#modules.clock.after(withinMs, resolve);
      peer.waiting.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

function sameStanding({ body: a }: SignedFenceAnswer, { body: b }: SignedFenceAnswer): boolean {
  return (
    a.auditHead === b.auditHead &&
    a.position.epoch === b.position.epoch &&
    a.position.burnCounter === b.position.burnCounter
  );
}
