import { concatBytes, fromHex, type NodeIndex } from "@cairn/core";
import type { Engine, EngineListener, EngineSession, EngineSpec } from "@cairn/signing";

/** One native session, and how far it has come: what it has said and heard tells whether it has work to do. */
interface Watched {
  /** What it said and nobody was told yet. */
  readonly events: (() => void)[];
  owes(): boolean;
}

interface Ticket {
  settled: boolean;
  readonly release: () => void;
}

/** Length of the frame's header, and where its execution id and context stand (native/engine/src/frame.rs). */
const HEADER = { bytes: 70, round: 2, domain: 6 } as const;

/**
 * Makes an engine on native threads keep virtual time: time goes on only when every session waits for its peers and every question is
 * answered, and what they said is then handed on in the order in which they were opened, not in which threads came to an end.
 */
export class NativeTurns {
  readonly #sessions: Watched[] = [];
  #tickets: Ticket[] = [];
  #heard: () => void = () => {};

  /** Waits for what runs now; null when all is quiet and handed on. For `settle`. */
  busy(): Promise<void> | null {
    if (this.#sessions.some((session) => session.owes()) || this.#tickets.some(({ settled }) => !settled)) {
      return new Promise((resolve) => {
        this.#heard = resolve;
      });
    }
    const tickets = this.#tickets;
    this.#tickets = [];
    for (const { release } of tickets) release();
    const events = this.#sessions.flatMap((session) => session.events.splice(0));
    for (const hand of events) hand();
    return tickets.length + events.length === 0 ? null : Promise.resolve();
  }

  /** An answer that comes from another thread, or from the disk: given when all others that were asked for are there too. */
  ask<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let give = (): void => {};
      const ticket: Ticket = { settled: false, release: () => give() };
      this.#tickets.push(ticket);
      const settled = (how: () => void): void => {
        give = how;
        ticket.settled = true;
        this.#heard();
      };
      work().then(
        (value) => settled(() => resolve(value)),
        (cause: unknown) => settled(() => reject(cause)),
      );
    });
  }

  /** The engine, with its sessions and answers in order. `schedule` hands an event on in virtual time, keeping the order of its calls. */
  inOrder(engine: Engine, schedule: (run: () => void) => void): Engine {
    return {
      level: engine.level,
      start: (spec, listener) => this.#start(engine, spec, listener, schedule),
      issuePartial: (input) => this.ask(() => engine.issuePartial(input)),
      combinePartials: (input) => this.ask(() => engine.combinePartials(input)),
      verify: (input) => this.ask(() => engine.verify(input)),
      describe: (publicPackage) => this.ask(() => engine.describe(publicPackage)),
      primes: () => this.ask(() => engine.primes()),
      close: () => engine.close(),
    };
  }

  #start(
    engine: Engine,
    spec: EngineSpec,
    listener: EngineListener,
    schedule: (run: () => void) => void,
  ): EngineSession {
    const progress = new FrostProgress(spec);
    const events: (() => void)[] = [];
    const watched: Watched = { events, owes: () => progress.owes() };
    this.#sessions.push(watched);
    let cancelled = false;
    const forget = (): void => {
      const at = this.#sessions.indexOf(watched);
      if (at >= 0 && events.length === 0) this.#sessions.splice(at, 1);
    };
    const hear = (call: () => void): void => {
      if (cancelled) return;
      events.push(() =>
        schedule(() => {
          if (!cancelled) call();
          if (progress.over) forget();
        }),
      );
      this.#heard();
    };
    const session = engine.start(spec, {
      send: (message) => {
        progress.said(message.round, message.payload);
        hear(() => listener.send(message));
      },
      progress: (step) => {
        progress.reached = Math.max(progress.reached, step.round);
        hear(() => listener.progress(step));
      },
      done: (result) => {
        progress.over = true;
        hear(() => listener.done(result));
      },
      failed: (failure) => {
        progress.over = true;
        hear(() => listener.failed(failure));
      },
    });
    return {
      receive: (from, payload) => {
        progress.heard(from, payload);
        session.receive(from, payload);
      },
      cancel: () => {
        cancelled = true;
        progress.over = true;
        events.length = 0;
        forget();
        session.cancel();
        this.#heard();
      },
    };
  }
}

/**
 * What a FROST session of the native engine owes its owner. It says one word a round (in the last round of key generation one to each
 * peer), goes on when the round's words of all peers are there, and ends after the last; a frame that is out of place ends it at once.
 */
class FrostProgress {
  readonly #rounds: number;
  readonly #words: readonly number[];
  readonly #others: readonly NodeIndex[];
  readonly #execution: Uint8Array;
  readonly #said = new Map<number, number>();
  readonly #heard = new Map<number, Set<NodeIndex>>();
  #domain: Uint8Array | null = null;
  #misplaced = false;
  reached = 0;
  over = false;

  constructor(spec: EngineSpec) {
    const all = "parties" in spec ? spec.parties : spec.signers;
    this.#others = all.filter((node) => node !== spec.me);
    if (spec.kind === "frost-keygen") this.#words = [1, 1, 1, this.#others.length];
    else if (spec.kind === "frost-sign") this.#words = [1, 1];
    else throw new RangeError(`only FROST sessions keep virtual time, not ${spec.kind}`);
    this.#rounds = this.#words.length;
    this.#execution = fromHex(spec.executionId);
  }

  said(round: number, payload: Uint8Array): void {
    this.#said.set(round, (this.#said.get(round) ?? 0) + 1);
    this.#domain ??= payload.slice(HEADER.domain, HEADER.bytes);
  }

  heard(from: NodeIndex, payload: Uint8Array): void {
    if (!this.#others.includes(from)) return;
    const round = payload[HEADER.round] ?? 0;
    const seen = this.#heard.get(round) ?? new Set();
    this.#heard.set(round, seen);
    const domain = this.#domain ?? concatBytes(this.#execution);
    const ours = Buffer.compare(payload.subarray(HEADER.domain, HEADER.domain + domain.length), domain) === 0;
    if (!ours || seen.has(from) || round < 1 || round > this.#rounds || payload[0] !== 1)
      this.#misplaced = true;
    seen.add(from);
  }

  owes(): boolean {
    if (this.over) return false;
    if (this.#misplaced) return true;
    for (let round = 1; round <= this.#rounds; round += 1) {
      if ((this.#said.get(round) ?? 0) < (this.#words[round - 1] ?? 0)) return true;
      // Key generation says that it has come to its second round before it waits for the first one's words.
      if (this.#rounds === 4 && this.reached < 2) return true;
      if ((this.#heard.get(round)?.size ?? 0) < this.#others.length) return false;
    }
    return true;
  }
}
