import { createHash } from "node:crypto";
import {
  type ClusterId,
  type Ed25519PublicKey,
  type Ed25519Signer,
  type HashHex,
  isCairnError,
  type KeyId,
  type KeyPath,
  type NodeIndex,
  type Nonce,
  type PresignatureId,
  SealingKey,
  type SessionId,
  sha256Hex,
  signBody,
  type UnixMs,
} from "@cairn/core";
import {
  decodeSessionMessage,
  type Engine,
  type EngineSession,
  encodeSessionMessage,
  openSession,
  type PresignatureFacts,
  type Proposal,
  type SessionEffect,
  type SessionEvent,
  type SessionMessage,
  type SessionResult,
  type SessionSetup,
  type SessionState,
  type SessionStep,
  type SessionWork,
  type SignedProposal,
  signMessage,
  stepSession,
} from "../../src/index.ts";
import { createMemoryEngine } from "../../src/memory-engine.ts";
import { testIdentity } from "./test-identity.ts";

export const cluster = "c1".repeat(32) as ClusterId;
export const keyId = "4e".repeat(32) as KeyId;
export const timeouts = { ackMs: 1_000, startMs: 2_000, roundMs: 5_000, sessionMs: 20_000 };

export type EffectOf<Kind extends SessionEffect["effect"]> = Extract<
  SessionEffect,
  { readonly effect: Kind }
>;

export interface StoredPresignature {
  facts: PresignatureFacts;
  sealed: Uint8Array;
  publicData: Uint8Array;
}

/** One node of the bench: machines, engine, and what a store would hold. */
export class BenchNode {
  readonly index: NodeIndex;
  readonly signer: Ed25519Signer;
  readonly engine: Engine;
  readonly sessions = new Map<SessionId, SessionState>();
  readonly engines = new Map<SessionId, EngineSession>();
  readonly deadlines = new Map<SessionId, number>();
  readonly executions = new Set<string>();
  readonly stock = new Map<PresignatureId, StoredPresignature>();
  /** Every effect of every session, in order. */
  readonly effects: SessionEffect[] = [];
  readonly finalised: Uint8Array[][] = [];
  sealedShare = new Uint8Array();
  publicPackage = new Uint8Array();
  burnCounter = 0;
  opened = 0;

  constructor(index: NodeIndex, schedule: (run: () => void) => void) {
    this.index = index;
    this.signer = testIdentity(`node ${index}`);
    const seed = new Uint8Array(createHash("sha256").update(`seed of ${index}`).digest());
    this.engine = createMemoryEngine({ seed, schedule });
  }

  of<Kind extends SessionEffect["effect"]>(kind: Kind): EffectOf<Kind>[] {
    return this.effects.filter((effect): effect is EffectOf<Kind> => effect.effect === kind);
  }
}

interface Task {
  readonly stream: string;
  readonly run: () => Promise<void> | void;
}

/** What a network, or a hostile node, makes of a message on its way: the messages that arrive in its place. */
export type Intercept = (
  from: NodeIndex,
  to: NodeIndex,
  message: SessionMessage,
) => readonly SessionMessage[];

/**
 * n session machines on one bench, with an in-memory engine and store each. Streams keep their order; which stream goes on next is `pick`'s choice.
 * When nothing is left to do, time jumps to the next deadline.
 */
export class SessionBench {
  readonly nodes = new Map<NodeIndex, BenchNode>();
  readonly identities: ReadonlyMap<NodeIndex, Ed25519PublicKey>;
  readonly #tasks: Task[] = [];
  now = 1_000_000 as UnixMs;
  intercept: Intercept = (_from, _to, message) => [message];
  /** Told of every event and effect of every session. */
  trace: (node: NodeIndex, line: SessionEvent | SessionEffect) => void = () => {};
  /** Chooses among so many streams. */
  pick: (streams: number) => number = () => 0;
  readonly down = new Set<NodeIndex>();

  constructor(total: number) {
    for (let index = 1; index <= total; index += 1) {
      const node = index as NodeIndex;
      this.nodes.set(node, new BenchNode(node, (run) => this.#tasks.push({ stream: `engine ${node}`, run })));
    }
    this.identities = new Map([...this.nodes].map(([index, node]) => [index, node.signer.publicKey]));
  }

  node(index: number): BenchNode {
    const node = this.nodes.get(index as NodeIndex);
    if (node === undefined) throw new Error(`the bench has no node ${index}`);
    return node;
  }

  /** The setup with which node `index` opens a session. */
  setup(index: number, proposal: Proposal, work: SessionWork): SessionSetup {
    const node = this.node(index);
    node.opened += 1;
    const nonce = createHash("sha256").update(`nonce ${index} ${node.opened}`).digest("hex") as Nonce;
    return {
      me: node.index,
      cluster,
      proposal,
      work,
      identities: this.identities,
      timeouts,
      nonce,
      sealing: proposal.purpose === "keygen" ? SealingKey.generate().publicKey : null,
    };
  }

  signed(proposal: Proposal): SignedProposal {
    return signBody("cairn/proposal/v1", proposal, this.node(proposal.initiator).signer);
  }

  /** Opens the session at its initiator; the others follow when the proposal reaches them. */
  begin(proposal: Proposal, workOf: (node: BenchNode) => SessionWork): void {
    this.#workOf.set(proposal.sessionId, workOf);
    this.#open(this.node(proposal.initiator), proposal, null);
  }
  readonly #workOf = new Map<SessionId, (node: BenchNode) => SessionWork>();

  #open(node: BenchNode, proposal: Proposal, signed: SignedProposal | null): void {
    const workOf = this.#workOf.get(proposal.sessionId);
    if (workOf === undefined || node.sessions.has(proposal.sessionId)) return;
    const step = openSession(this.setup(node.index, proposal, workOf(node)), signed, { now: this.now });
    this.carryOut(node, proposal.sessionId, step);
  }

  /** Runs until every session is over, or for `limit` tasks. */
  async run(limit = 100_000): Promise<void> {
    for (let done = 0; done < limit; done += 1) {
      const heads = [...new Map(this.#tasks.map((task) => [task.stream, task] as const).reverse()).values()];
      const task = heads[this.pick(heads.length) % Math.max(1, heads.length)];
      if (task === undefined) {
        if (!this.#jump()) return;
        continue;
      }
      this.#tasks.splice(this.#tasks.indexOf(task), 1);
      await task.run();
    }
    throw new Error("the bench did not come to rest");
  }

  /** Carries out a step of a node's session. */
  carryOut(node: BenchNode, session: SessionId, step: SessionStep): void {
    node.sessions.set(session, step.state);
    for (const effect of step.effects) {
      node.effects.push(effect);
      this.trace(node.index, effect);
      this.#effect(node, session, effect);
    }
  }

  /** Feeds one event to a session of a node. */
  feed(node: BenchNode, session: SessionId, event: SessionEvent): void {
    const state = node.sessions.get(session);
    if (state === undefined || this.down.has(node.index)) return;
    this.trace(node.index, event);
    this.carryOut(node, session, stepSession(state, event, { now: this.now }));
  }

  /** Puts a message on its way, as if `from` had sent it. */
  send(from: NodeIndex, to: NodeIndex, message: SessionMessage): void {
    const arriving = from === to ? [message] : this.intercept(from, to, message);
    for (const each of arriving) {
      const frame = encodeSessionMessage(each);
      this.#tasks.push({
        stream: `${from} → ${to}`,
        run: () => this.#deliver(from, to, decodeSessionMessage(each.kind, frame)),
      });
    }
  }

  #deliver(from: NodeIndex, to: NodeIndex, message: SessionMessage): void {
    const node = this.node(to);
    if (this.down.has(to) || this.down.has(from)) return;
    if (message.kind === "finalize") node.finalised.push([...message.signed.body.signatures]);
    if (message.kind === "proposal") {
      if (message.signed.body.signers.includes(to)) this.#open(node, message.signed.body, message.signed);
      return;
    }
    this.feed(node, sessionOf(message), { event: "message", from, message });
  }

  #later(node: BenchNode, session: SessionId, work: () => Promise<SessionEvent>): void {
    this.#tasks.push({
      stream: `store ${node.index}`,
      run: async () => this.feed(node, session, await work()),
    });
  }

  #effect(node: BenchNode, session: SessionId, effect: SessionEffect): void {
    switch (effect.effect) {
      case "send": {
        const message = signMessage(effect.message, node.signer);
        for (const to of effect.to) this.send(node.index, to, message);
        return;
      }
      case "arm":
        node.deadlines.set(session, effect.at);
        return;
      case "record-execution": {
        const known = node.executions.has(effect.execution);
        node.executions.add(effect.execution);
        return this.#later(node, session, async () => ({
          event: known ? "execution-repeated" : "execution-recorded",
        }));
      }
      case "engine-start": {
        const feed = (event: SessionEvent) => this.feed(node, session, event);
        node.engines.set(
          session,
          node.engine.start(effect.spec, {
            send: (message) => feed({ event: "engine-send", ...message }),
            progress: (progress) => feed({ event: "engine-progress", ...progress }),
            done: (result) => feed({ event: "engine-done", result }),
            failed: (failure) => feed({ event: "engine-failed", failure }),
          }),
        );
        return;
      }
      case "engine-receive":
        return node.engines.get(session)?.receive(effect.from, effect.payload);
      case "engine-cancel":
        return node.engines.get(session)?.cancel();
      case "burn": {
        const { presignatureId } = effect;
        return this.#later(node, session, async () => {
          const item = node.stock.get(presignatureId);
          if (item === undefined || item.facts.state !== "ready") {
            return { event: "burn-refused", presignatureId, code: "presignature-used" };
          }
          item.facts = { ...item.facts, state: "burned" };
          node.burnCounter += 1;
          return { event: "burned", receipt: { presignatureId, epoch: 0, burnCounter: node.burnCounter } };
        });
      }
      case "issue-partial": {
        const { presignatureId } = effect;
        return this.#later(node, session, async () => {
          try {
            const sealedPresignature = node.stock.get(presignatureId)?.sealed ?? new Uint8Array();
            const partial = await node.engine.issuePartial({ ...effect, me: node.index, sealedPresignature });
            return { event: "partial-issued", presignatureId, partial };
          } catch (error) {
            if (!isCairnError(error)) throw error;
            return { event: "partial-refused", presignatureId, code: error.code };
          }
        });
      }
      case "combine":
        return this.#later(node, session, async () => {
          const { input, presignatureId } = effect;
          const publicData = node.stock.get(presignatureId)?.publicData ?? new Uint8Array();
          try {
            const { publicPackage } = node;
            const signature = await node.engine.combinePartials({ ...effect, publicPackage, publicData });
            return { event: "combined", input, signature };
          } catch (error) {
            if (!isCairnError(error, "invalid-partial")) throw error;
            return { event: "combine-failed", input, blamed: error.data.blamed as NodeIndex[] };
          }
        });
      case "verify":
        return this.#later(node, session, async () => {
          const { publicPackage } = node;
          const verdicts = await Promise.all(
            effect.items.map((item) => node.engine.verify({ publicPackage, ...item })),
          );
          return { event: "verified", from: effect.from, valid: verdicts.every(Boolean) };
        });
      case "discard":
        for (const id of effect.presignatureIds) {
          const item = node.stock.get(id);
          if (item !== undefined) item.facts = { ...item.facts, state: "discarded" };
        }
        return;
      default:
        return;
    }
  }

  /** To the next deadline of a live session; false when there is none. */
  #jump(): boolean {
    const due = [...this.nodes.values()].flatMap((node) =>
      [...node.sessions].flatMap(([session, state]) => {
        const at = node.deadlines.get(session);
        const live = state.phase !== "done" && state.phase !== "failed" && !this.down.has(node.index);
        return live && at !== undefined ? [{ node, session, at }] : [];
      }),
    );
    const next = due.sort((a, b) => a.at - b.at)[0];
    if (next === undefined) return false;
    this.now = Math.max(this.now, next.at) as UnixMs;
    this.feed(next.node, next.session, { event: "tick" });
    return true;
  }
}

export function sessionOf(message: SessionMessage): SessionId {
  if (message.kind === "proposal") return message.signed.body.sessionId;
  if (message.kind !== "round") return message.signed.body.session;
  return message.content.type === "direct" ? message.content.session : message.content.signed.body.session;
}

export function nodesOf(...indices: number[]): NodeIndex[] {
  return indices.map((index) => index as NodeIndex);
}

/** A stand-in for a transaction's preimage, and the sighash that belongs to it. */
export function preimageOf(name: string): { readonly preimage: Uint8Array; readonly sighash: HashHex } {
  const preimage = new Uint8Array(Buffer.from(`preimage of ${name}`));
  const once = createHash("sha256").update(preimage).digest();
  return { preimage, sighash: sha256Hex(once) as HashHex };
}

export function resultOf(node: BenchNode, session: SessionId): SessionResult | null {
  const state = node.sessions.get(session);
  return state?.phase === "done" ? state.result : null;
}

export type { KeyPath };
