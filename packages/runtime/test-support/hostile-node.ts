import type { ChainSource } from "@cairn/bitcoin";
import type {
  Courier,
  CourierHandler,
  NodeIndex,
  PeerMessage,
  Transport,
  TransportHandler,
} from "@cairn/core";
import type { Engine, EngineListener, EngineSpec } from "@cairn/signing";

type EngineMessage = Parameters<EngineListener["send"]>[0];
type EngineResult = Parameters<EngineListener["done"]>[0];

/**
 * A member with a real identity whose every word can be changed on its way out: it runs the honest code, and what a test or a
 * behaviour puts here lies in its name. Without a lie set it behaves.
 */
export class HostileNode {
  readonly index: NodeIndex;
  /** A message to a peer: itself, another, or null for silence. */
  rewrite: (to: NodeIndex, message: PeerMessage) => PeerMessage | null = (_, message) => message;
  /** A sealed frame to a peer: what leaves in its place, and how many copies of it. */
  frame: (to: NodeIndex, frame: Uint8Array) => readonly Uint8Array[] = (_, frame) => [frame];
  /** What its engine says to the others. */
  say: (spec: EngineSpec, message: EngineMessage) => EngineMessage = (_, message) => message;
  /** Its partial from a presignature. */
  partial: (partial: Uint8Array) => Uint8Array = (partial) => partial;
  /** Whether it keeps what its engine made, so that even its own code never learns of it. */
  keeps: (result: EngineResult) => boolean = () => false;
  readonly kept: EngineResult[] = [];
  /** What its own code never gets to hear of the others. */
  ignores: (message: PeerMessage) => boolean = () => false;
  /** Told of every message that it hears. */
  hear: (from: NodeIndex, message: PeerMessage) => void = () => {};
  /** What its chain source tells it. */
  chain: (chain: ChainSource) => ChainSource = (chain) => chain;
  /** What the others told it. */
  readonly heard: { readonly from: NodeIndex; readonly message: PeerMessage }[] = [];
  /** How often a lie was told. */
  lies = 0;
  #courier: Courier | null = null;

  constructor(index: number) {
    this.index = index as NodeIndex;
  }

  /** What stands between a node and its ports: this liar, where it is the one. */
  tampering(index: NodeIndex) {
    if (index !== this.index) return undefined;
    return {
      transport: (transport: Transport) => this.overTransport(transport),
      courier: (courier: Courier) => this.overCourier(courier),
      engine: (engine: Engine) => this.overEngine(engine),
    };
  }

  /** Behaves from now on. */
  behave(): void {
    this.rewrite = (_, message) => message;
    this.frame = (_, frame) => [frame];
    this.say = (_, message) => message;
    this.partial = (partial) => partial;
    this.keeps = () => false;
    this.ignores = () => false;
    this.hear = () => {};
    this.chain = (chain) => chain;
  }

  /** Sends whatever, sealed and signed as the node's own. */
  send(to: NodeIndex, message: PeerMessage): void {
    this.lies += 1;
    this.#courier?.send(to, message);
  }

  overTransport(transport: Transport): Transport {
    return {
      start: (handler: TransportHandler) => transport.start(handler),
      send: async (to, frame) => {
        for (const copy of this.frame(to, frame)) await transport.send(to, this.#told(frame, copy));
      },
      peers: () => transport.peers(),
      setRefused: (refused) => transport.setRefused(refused),
      close: () => transport.close(),
    };
  }

  overCourier(courier: Courier): Courier {
    this.#courier = courier;
    return {
      start: (handler: CourierHandler) =>
        courier.start({
          message: (from, message) => {
            if (this.ignores(message)) return Promise.resolve();
            this.heard.push({ from, message });
            this.hear(from, message);
            return handler.message(from, message);
          },
          peer: (status) => handler.peer(status),
          refused: (from, code) => handler.refused(from, code),
        }),
      send: (to, message) => {
        const said = this.#told<PeerMessage | null>(message, this.rewrite(to, message));
        if (said !== null) courier.send(to, said);
      },
      posting: (to, id, message) => {
        const said = this.#told<PeerMessage | null>(message, this.rewrite(to, message));
        return said === null ? { write: "outbox-done", to, id } : courier.posting(to, id, said);
      },
      kick: (committed) => courier.kick(committed),
      peers: () => courier.peers(),
      setRefused: (refused) => courier.setRefused(refused),
      useSealingKeys: (session, keys) => courier.useSealingKeys(session, keys),
      close: () => courier.close(),
    };
  }

  overEngine(engine: Engine): Engine {
    return {
      level: engine.level,
      start: (spec, listener) =>
        engine.start(spec, {
          send: (message) => listener.send(this.#told(message, this.say(spec, message))),
          progress: (progress) => listener.progress(progress),
          done: (result) => {
            if (!this.keeps(result)) return listener.done(result);
            this.lies += 1;
            this.kept.push(result);
          },
          failed: (failure) => listener.failed(failure),
        }),
      issuePartial: async (input) => {
        const partial = await engine.issuePartial(input);
        return this.#told(partial, this.partial(partial));
      },
      combinePartials: (input) => engine.combinePartials(input),
      verify: (input) => engine.verify(input),
      describe: (publicPackage) => engine.describe(publicPackage),
      primes: () => engine.primes(),
      close: () => engine.close(),
    };
  }

  /** Its chain source, which may be made to lie later. */
  overChain(chain: ChainSource): ChainSource {
    const now = (): ChainSource => this.chain(chain);
    return {
      tip: () => now().tip(),
      blockHash: (height) => now().blockHash(height),
      scriptActivity: (script) => now().scriptActivity(script),
      transactionStatus: (txid) => now().transactionStatus(txid),
      outspend: (outpoint) => now().outspend(outpoint),
      rawTransaction: (txid) => now().rawTransaction(txid),
      inclusion: (txid) => now().inclusion(txid),
      feeEstimates: () => now().feeEstimates(),
      broadcast: (raw) => now().broadcast(raw),
    };
  }

  #told<T>(before: T, after: T): T {
    if (before !== after) this.lies += 1;
    return after;
  }
}
