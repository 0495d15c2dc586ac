import { decodeCanonical, encodeCanonical, equalBytes, isCairnError, type NodeIndex } from "@cairn/core";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";
import type { EngineFailure, EngineListener, EngineResult, EngineSession } from "./engine.ts";
import { digestOf } from "./memory-key.ts";

/** What differs between the protocols that the in-memory engine plays. */
export interface MemoryProtocol {
  /** Broadcast in round 1. */
  readonly opening: Uint8Array;
  /** Sent to each peer in round 3, when everybody has seen the same openings. */
  readonly closing: Uint8Array;
  /** From everybody's openings and closings, this node's own among them, ascending by node. */
  finish(said: readonly MemoryWords[]): EngineResult | MemoryFault;
}

export interface MemoryWords {
  readonly node: NodeIndex;
  readonly opening: Uint8Array;
  readonly closing: Uint8Array;
}

export interface MemoryFault {
  readonly kind: "fault";
  readonly code: EngineFailure["code"];
  readonly blamed: readonly NodeIndex[];
  readonly message: string;
}

const wireSchema = z.strictObject({
  step: z.enum(["opening", "echo", "closing"]),
  value: byteArraySchema(1024 * 1024),
});

const steps = ["opening", "echo", "closing"] as const;

/**
 * The one skeleton of all its protocols: openings are broadcast, everybody echoes the hash of all openings, closings go to each peer. Emits through
 * `listener` on turns that `schedule` chooses.
 */
export function runMemorySession(
  parties: { readonly me: NodeIndex; readonly all: readonly NodeIndex[] },
  protocol: MemoryProtocol,
  listener: EngineListener,
  schedule: (run: () => void) => void,
): EngineSession {
  const { me, all } = parties;
  const others = all.filter((node) => node !== me);
  const received = steps.map(() => new Map<NodeIndex, Uint8Array>());
  let round = 0;
  let over = false;

  const emit = (call: () => void) => {
    schedule(() => {
      if (!over) call();
    });
  };
  const end = (call: () => void) => {
    schedule(() => {
      if (over) return;
      over = true;
      call();
    });
  };
  const fail = (code: EngineFailure["code"], blamed: readonly NodeIndex[], message: string) => {
    end(() => listener.failed({ code, round, blamed, message }));
  };
  const wordsOf = (step: number, own: Uint8Array) =>
    all.map((node) => (node === me ? own : (received[step]?.get(node) ?? new Uint8Array())));
  const echo = () => digestOf("echo", wordsOf(0, protocol.opening));

  const say = () => {
    const step = steps[round - 1];
    if (step === undefined) return;
    const value = step === "opening" ? protocol.opening : step === "echo" ? echo() : protocol.closing;
    const payload = encodeCanonical({ step, value });
    const at = round;
    emit(() => listener.progress({ round: at, rounds: steps.length, step }));
    const recipients = step === "closing" ? others : [null];
    for (const to of recipients) emit(() => listener.send({ to, round: at, payload }));
  };

  const conclude = () => {
    const openings = wordsOf(0, protocol.opening);
    const closings = wordsOf(2, protocol.closing);
    const said = all.map((node, position) => ({
      node,
      opening: openings[position] ?? new Uint8Array(),
      closing: closings[position] ?? new Uint8Array(),
    }));
    const result = finishSafely(protocol, said);
    if (result.kind === "fault") fail(result.code, result.blamed, result.message);
    else end(() => listener.done(result));
  };

  const advance = () => {
    while (!over && round > 0 && received[round - 1]?.size === others.length) {
      if (round === 2) {
        const expected = echo();
        const differing = others.filter((node) => !equalBytes(received[1]?.get(node) ?? expected, expected));
        // Whoever sent different openings is not known: the echo only shows that somebody did.
        if (differing.length > 0)
          return fail("equivocation", [], "the parties did not see the same openings");
      }
      if (round === steps.length) {
        round += 1;
        return conclude();
      }
      round += 1;
      say();
    }
  };

  schedule(() => {
    round = 1;
    say();
    advance();
  });

  return {
    receive(from, payload) {
      if (over || !others.includes(from)) return;
      const message = readWire(payload);
      if (message === null)
        return fail("invalid-round-message", [from], "the message is none of this protocol");
      const inbox = received[steps.indexOf(message.step)];
      if (inbox === undefined || inbox.has(from)) return;
      inbox.set(from, message.value);
      advance();
    },
    cancel() {
      over = true;
    },
  };
}

function readWire(payload: Uint8Array): z.output<typeof wireSchema> | null {
  try {
    return decodeCanonical(wireSchema, payload);
  } catch (error) {
    if (isCairnError(error)) return null;
    throw error;
  }
}

function finishSafely(protocol: MemoryProtocol, said: readonly MemoryWords[]): EngineResult | MemoryFault {
  try {
    return protocol.finish(said);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return { kind: "fault", code: "internal", blamed: [], message: error.message };
  }
}
