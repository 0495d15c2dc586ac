import { fromHex, type NodeIndex, nodeIndexSchema, presignatureIdSchema, toHex } from "@cairn/core";
import type {
  NativeEngine,
  NativeItem,
  NativeSealedPrime,
  NativeSession,
  NativeSessionEvent,
  NativeSessionOptions,
} from "@cairn/native-engine";
import type {
  EngineFailure,
  EngineListener,
  EngineResult,
  EngineSession,
  EngineSpec,
  SigningItem,
} from "@cairn/signing";
import { engineFailure, nativeError } from "./native-error.ts";
import { plainBytes } from "./plain-bytes.ts";
import type { NoPrimes, PrimePool } from "./prime-pool.ts";

/** Primes of one auxiliary session: two for the Paillier modulus, two for the ring-Pedersen modulus. */
const primesNeeded = 4;
/** Rounds of an auxiliary session. */
const auxRounds = 4;
/** Before its own first message a node can get at most one from each peer; a few more are room for faults. */
const maxEarlyMessages = 4;

export interface SessionModules {
  readonly native: Pick<NativeEngine, "start">;
  readonly primes: Pick<PrimePool, "take">;
  /** Called once, when the session has emitted its last event or was cancelled. */
  readonly ended: (session: EngineSession) => void;
}

/**
 * Opens a session of the native engine. An auxiliary session first takes its primes and waits for them where there are too few.
 * @throws CairnError `malformed` for a spec that contradicts itself, `busy`, `closed`
 */
export function openSession(
  spec: EngineSpec,
  listener: EngineListener,
  modules: SessionModules,
): EngineSession {
  const state: { over: boolean; running: NativeSession | undefined } = { over: false, running: undefined };
  const early: { readonly from: NodeIndex; readonly payload: Uint8Array }[] = [];
  const abort = new AbortController();

  const end = (): void => {
    state.over = true;
    early.length = 0;
    abort.abort();
    modules.ended(session);
  };
  const fail = (failure: EngineFailure): void => {
    if (state.over) return;
    end();
    listener.failed(failure);
  };
  const heard = (event: NativeSessionEvent): void => {
    if (state.over) return;
    switch (event.type) {
      case "send": {
        const { payload, round } = event;
        if (payload === undefined || round === undefined) return fail(incomplete(event));
        const to = event.to === undefined ? null : nodeIndexSchema.parse(event.to);
        return listener.send({ to, round, payload: plainBytes(payload) });
      }
      case "progress":
        return listener.progress({
          round: event.round ?? 0,
          rounds: event.rounds ?? 0,
          step: event.step ?? "",
        });
      case "failed":
        return fail(event.failure === undefined ? incomplete(event) : engineFailure(event.failure));
      case "done": {
        const result = sessionResult(spec.kind, event);
        if (result === undefined) return fail(incomplete(event));
        end();
        return listener.done(result);
      }
    }
  };
  const run = (primes: NativeSealedPrime[]): void => {
    state.running = modules.native.start(nativeOptions(spec, primes), heard);
    for (const { from, payload } of early.splice(0)) state.running.receive(from, payload);
  };

  const session: EngineSession = {
    receive(from, payload) {
      if (state.over) return;
      if (state.running !== undefined) {
        state.running.receive(from, payload);
      } else if (!participants(spec).includes(from) || from === spec.me) {
        // An outsider must not be able to end a session.
        return;
      } else if (early.filter((message) => message.from === from).length < maxEarlyMessages) {
        early.push({ from, payload });
      } else {
        const message = `node ${from} sent more messages than the first round has`;
        // On a later turn, as every event.
        setImmediate(() => fail({ code: "invalid-round-message", round: 1, blamed: [from], message }));
      }
    },
    cancel() {
      if (state.over) return;
      end();
      state.running?.cancel();
    },
  };

  if (spec.kind === "cggmp24-aux") {
    const waiting = (ready: number): void => {
      if (!state.over) {
        const step = `generating primes (${ready} of ${primesNeeded})`;
        listener.progress({ round: 0, rounds: auxRounds, step });
      }
    };
    modules.primes
      .take(primesNeeded, waiting, abort.signal)
      .then((taken) => {
        if (state.over) return;
        if (Array.isArray(taken)) run(taken);
        else fail(withoutPrimes(taken));
      })
      .catch((error: unknown) => {
        fail({ code: "internal", round: 0, blamed: [], message: nativeError(error).message });
      });
  } else {
    try {
      run([]);
    } catch (error) {
      throw nativeError(error);
    }
  }
  return session;
}

function participants(spec: EngineSpec): readonly NodeIndex[] {
  return "parties" in spec ? spec.parties : spec.signers;
}

function withoutPrimes({ reason }: NoPrimes): EngineFailure {
  const why = {
    closed: "the engine was closed while it waited for primes",
    failed:
      "the search for primes failed: look at the room and rights of the data folder, then restart the node",
    "not-searching": `this engine keeps fewer than ${primesNeeded} primes in stock: raise its target`,
  }[reason];
  return { code: "no-primes", round: 0, blamed: [], message: why };
}

function incomplete(event: NativeSessionEvent): EngineFailure {
  const message = `the native engine sent an incomplete ${event.type} event`;
  return { code: "internal", round: event.round ?? 0, blamed: [], message };
}

function sessionResult(kind: EngineSpec["kind"], event: NativeSessionEvent): EngineResult | undefined {
  switch (kind) {
    case "cggmp24-aux":
      return event.sealedAux === undefined ? undefined : { kind, sealedAux: plainBytes(event.sealedAux) };
    case "cggmp24-keygen":
    case "frost-keygen": {
      const { sealedShare, publicPackage } = event;
      if (sealedShare === undefined || publicPackage === undefined) return undefined;
      return { kind, sealedShare: plainBytes(sealedShare), publicPackage: plainBytes(publicPackage) };
    }
    case "cggmp24-presign": {
      const items = event.presignatures?.map((made) => ({
        presignatureId: presignatureIdSchema.parse(toHex(made.id)),
        sealed: plainBytes(made.sealed),
        publicData: plainBytes(made.publicData),
      }));
      return items === undefined ? undefined : { kind, items };
    }
    case "cggmp24-sign":
    case "frost-sign":
      return event.signatures === undefined
        ? undefined
        : { kind, signatures: event.signatures.map(plainBytes) };
  }
}

function nativeOptions(spec: EngineSpec, primes: NativeSealedPrime[]): NativeSessionOptions {
  const { kind, me } = spec;
  const executionId = fromHex(spec.executionId);
  switch (kind) {
    case "cggmp24-aux":
      return { kind, me, executionId, parties: [...spec.parties], primes };
    case "cggmp24-keygen":
      return { kind, me, executionId, ...keygen(spec), sealedAux: spec.sealedAux };
    case "frost-keygen":
      return { kind, me, executionId, ...keygen(spec) };
    case "cggmp24-presign":
      return {
        kind,
        me,
        executionId,
        ...signing(spec),
        items: spec.items.map(({ presignatureId, path: [change, index] }) => ({
          change,
          index,
          id: fromHex(presignatureId),
        })),
      };
    case "cggmp24-sign":
    case "frost-sign":
      return { kind, me, executionId, ...signing(spec), items: spec.items.map(signingItem) };
  }
}

type KeygenSpec = Extract<EngineSpec, { readonly threshold: number }>;

function keygen(spec: KeygenSpec): Pick<NativeSessionOptions, "keyId" | "epoch" | "threshold" | "parties"> {
  const { epoch, threshold, parties } = spec;
  return { keyId: fromHex(spec.keyId), epoch, threshold, parties: [...parties] };
}

type SigningSpec = Extract<EngineSpec, { readonly sealedShare: Uint8Array }>;

function signing(
  spec: SigningSpec,
): Pick<NativeSessionOptions, "keyId" | "epoch" | "sealedShare" | "parties"> {
  const { epoch, sealedShare, signers } = spec;
  return { keyId: fromHex(spec.keyId), epoch, sealedShare, parties: [...signers] };
}

function signingItem({ path: [change, index], preimage }: SigningItem): NativeItem {
  return { change, index, preimage };
}
