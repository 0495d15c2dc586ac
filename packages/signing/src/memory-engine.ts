import { isEcdsaPartialRight, readEcdsaPartial, readEcdsaPublicData } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  isCairnError,
  type NodeIndex,
  type PresignatureId,
} from "@cairn/core";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";
import type { Engine, EngineFailure, EngineSession, EngineSpec } from "./engine.ts";
import {
  combineInTheOpen,
  digestOf,
  type MemoryPackage,
  memoryAuxSchema,
  memoryKey,
  memoryPackageSchema,
  memoryPresignatureSchema,
  memoryShareSchema,
  openInTheClear,
  partialInTheClear,
  presignInTheClear,
  protocolOf,
  sealInTheClear,
  sighashOf,
  signInTheClear,
  verifyInTheOpen,
} from "./memory-key.ts";
import {
  type MemoryFault,
  type MemoryProtocol,
  type MemoryWords,
  runMemorySession,
} from "./memory-session.ts";
import { MAX_PRESIGN_ITEMS } from "./presign-job.ts";

export interface MemoryEngineOptions {
  /** Takes the place of this node's random source: equal seeds give equal keys. */
  readonly seed: Uint8Array;
  /** Runs a callback on a later turn; a simulation hands in its own. Default: `setImmediate`. */
  readonly schedule?: (run: () => void) => void;
}

/**
 * A TEST TWIN of the threshold engine: same port, rounds with echo, ids, refusals and blame, and no security at all. Every "sealed" share is the
 * whole key in the clear, and so is every partial. Its level is `reduced`, which nodes refuse outside of regtest. Signatures verify under real
 * keys, so that everything above the port can be tested to the end.
 */
export function createMemoryEngine(options: MemoryEngineOptions): Engine {
  const schedule = options.schedule ?? ((run: () => void) => void setImmediate(run));
  const sessions = new Set<EngineSession>();
  const used = new Set<PresignatureId>();
  const highestBurn = new Map<number, number>();

  return {
    level: "reduced",

    start(spec, listener) {
      const all = "parties" in spec ? spec.parties : spec.signers;
      const protocol = protocolOrFault(spec, options.seed);
      if ("fault" in protocol) {
        let cancelled = false;
        schedule(() => {
          if (!cancelled) listener.failed(protocol.fault);
        });
        return {
          receive() {},
          cancel() {
            cancelled = true;
          },
        };
      }
      const session = runMemorySession({ me: spec.me, all }, protocol, listener, schedule);
      sessions.add(session);
      return session;
    },

    async issuePartial(input) {
      const { receipt, keyId, epoch, me, path, signers, preimage } = input;
      const own = openInTheClear(memoryPresignatureSchema, input.sealedPresignature);
      const fits =
        own.presignatureId === receipt.presignatureId &&
        own.keyId === keyId &&
        own.epoch === epoch &&
        own.node === me &&
        own.path.join() === path.join() &&
        own.signers.join() === signers.join();
      if (!fits) {
        throw new CairnError(
          "presignature-mismatch",
          "the presignature is not of this key, path and signer set",
        );
      }
      if (used.has(own.presignatureId) || receipt.burnCounter <= (highestBurn.get(receipt.epoch) ?? -1)) {
        throw new CairnError("presignature-used", "the presignature, or its burn receipt, was used before", {
          presignature: own.presignatureId,
        });
      }
      used.add(own.presignatureId);
      highestBurn.set(receipt.epoch, receipt.burnCounter);
      return partialInTheClear(own, preimage);
    },

    async combinePartials({ publicPackage, publicData, path, preimage, partials }) {
      const key = openInTheClear(memoryPackageSchema, publicPackage);
      const data = readEcdsaPublicData(publicData);
      const sighash = sighashOf(preimage);
      const blamed = partials
        .filter(({ from, partial }) => !isEcdsaPartialRight(data, { from, sighash, partial }))
        .map(({ from }) => from);
      const complete = partials.map(({ from }) => from).join() === data.signers.join();
      if (blamed.length > 0 || !complete || data.path.join() !== path.join()) {
        throw new CairnError("invalid-partial", "a partial fails against the presignature's public data", {
          blamed,
        });
      }
      const sigmas = partials.flatMap(({ partial }) => readEcdsaPartial(partial, data.id) ?? []);
      const signature = combineInTheOpen(data, sigmas);
      if (verifyInTheOpen(key, path, preimage, signature)) return signature;
      throw new CairnError("signing-failed", "the combined signature does not verify", { blamed: [] });
    },

    async verify({ publicPackage, path, preimage, signature }) {
      return verifyInTheOpen(openInTheClear(memoryPackageSchema, publicPackage), path, preimage, signature);
    },

    async describe(publicPackage) {
      const { protocol, publicKey, chainCode, threshold, parties } = openInTheClear(
        memoryPackageSchema,
        publicPackage,
      );
      return { protocol, publicKey, chainCode, threshold, parties, level: "reduced" };
    },

    async primes() {
      return { ready: 4, target: 4, generating: false };
    },

    async close() {
      for (const session of sessions) session.cancel();
      sessions.clear();
    },
  };
}

/** A blob that is not the engine's fails the session, as it does behind the real port. */
function protocolOrFault(
  spec: EngineSpec,
  seed: Uint8Array,
): MemoryProtocol | { readonly fault: EngineFailure } {
  try {
    return protocolFor(spec, seed);
  } catch (error) {
    if (!isCairnError(error, "sealed-blob-invalid")) throw error;
    return { fault: { code: "sealed-blob-invalid", round: 0, blamed: [], message: error.message } };
  }
}

function protocolFor(spec: EngineSpec, seed: Uint8Array): MemoryProtocol {
  const fresh = (label: string, item: number) => digestOf(seed, spec.executionId, spec.me, label, item);
  switch (spec.kind) {
    case "cggmp24-aux":
      return {
        opening: digestOf(fresh("aux", 0)),
        closing: fresh("aux", 0),
        finish: (said) =>
          opened(said) ?? {
            kind: "cggmp24-aux",
            sealedAux: sealInTheClear({
              twin: "memory-engine",
              kind: "aux",
              node: spec.me,
              parties: spec.parties,
              digest: digestOf(said.map(({ closing }) => closing)),
            }),
          },
      };
    case "cggmp24-keygen":
    case "frost-keygen":
      return keygenProtocol(spec, fresh("keygen", 0));
    case "cggmp24-presign":
      return presignProtocol(
        spec,
        spec.items.map((_, item) => fresh("presign", item)),
      );
    case "cggmp24-sign":
    case "frost-sign":
      return signProtocol(spec);
  }
}

type Spec<Kind extends EngineSpec["kind"]> = Extract<EngineSpec, { readonly kind: Kind }>;

function keygenProtocol(
  spec: Spec<"cggmp24-keygen"> | Spec<"frost-keygen">,
  contribution: Uint8Array,
): MemoryProtocol {
  const { me, parties, keyId, epoch, threshold } = spec;
  const kind = spec.kind === "frost-keygen" ? "frost-keygen" : "cggmp24-keygen";
  // Auxiliary information of different executions does not fit together: it goes into every closing, and must agree.
  const aux =
    spec.kind === "cggmp24-keygen"
      ? openInTheClear(memoryAuxSchema, spec.sealedAux).digest
      : new Uint8Array(32);
  const closing = encodeCanonical({ aux, contribution });
  return {
    opening: digestOf(closing),
    closing,
    finish(said) {
      const fault = opened(said);
      if (fault !== null) return fault;
      const closings = said.map((words) => decodeCanonical(keygenClosingSchema, words.closing));
      if (closings.some((own) => !equalBytes(own.aux, aux))) {
        return {
          kind: "fault",
          code: "internal",
          blamed: [],
          message: "the parties hold auxiliary information of different executions",
        };
      }
      const { secret, publicKey, chainCode } = memoryKey(closings.map((own) => own.contribution));
      const key: MemoryPackage = {
        twin: "memory-engine",
        protocol: protocolOf(kind),
        keyId,
        epoch,
        parties: [...parties],
        threshold,
        publicKey,
        chainCode,
      };
      const share = { twin: "memory-engine", kind: "share", node: me, package: key, secret };
      return { kind, sealedShare: sealInTheClear(share), publicPackage: encodeCanonical(key) };
    },
  };
}

function presignProtocol(spec: Spec<"cggmp24-presign">, nonces: readonly Uint8Array[]): MemoryProtocol {
  const { me, keyId, epoch, signers, items } = spec;
  const share = openInTheClear(memoryShareSchema, spec.sealedShare);
  const opening = encodeCanonical(nonces);
  return {
    opening,
    closing: digestOf(opening),
    finish(said) {
      const fault = opened(said);
      if (fault !== null) return fault;
      return {
        kind: "cggmp24-presign",
        items: items.map(({ presignatureId, path }, item) => {
          const parts = said.map(({ node, opening: told }) => ({
            node,
            nonce: digestOf(decodeCanonical(noncesSchema, told)[item] ?? null),
          }));
          const { publicData, rSecret } = presignInTheClear(share, { presignatureId, path }, parts);
          const sealed = sealInTheClear({
            twin: "memory-engine",
            kind: "presignature",
            node: me,
            keyId,
            epoch,
            presignatureId,
            path: [...path],
            signers: [...signers],
            nonce: digestOf(nonces[item] ?? null),
            rSecret,
          });
          return { presignatureId, sealed, publicData };
        }),
      };
    },
  };
}

function signProtocol(spec: Spec<"cggmp24-sign" | "frost-sign">): MemoryProtocol {
  const share = openInTheClear(memoryShareSchema, spec.sealedShare);
  const kind = spec.kind;
  const opening = digestOf(spec.items.map(({ path, preimage }) => ({ path: [...path], preimage })));
  return {
    opening,
    closing: digestOf(opening),
    finish(said) {
      const blamed = said.filter((words) => !equalBytes(words.opening, opening)).map(({ node }) => node);
      if (blamed.length > 0) {
        return {
          kind: "fault",
          code: "invalid-round-message",
          blamed,
          message: "a party signs something else than this node",
        };
      }
      return (
        opened(said) ?? {
          kind,
          signatures: spec.items.map(({ path, preimage }) =>
            signInTheClear(share.package, share.secret, path, preimage),
          ),
        }
      );
    },
  };
}

const noncesSchema = z.array(byteArraySchema(32)).max(MAX_PRESIGN_ITEMS);
const keygenClosingSchema = z.strictObject({ aux: byteArraySchema(32), contribution: byteArraySchema(32) });

/** A closing that is not what its sender's opening committed to. */
function opened(said: readonly MemoryWords[]): MemoryFault | null {
  const blamed = said
    .filter(
      ({ opening, closing }) =>
        !equalBytes(opening, digestOf(closing)) && !equalBytes(closing, digestOf(opening)),
    )
    .map(({ node }): NodeIndex => node);
  if (blamed.length === 0) return null;
  return {
    kind: "fault",
    code: "invalid-round-message",
    blamed,
    message: "a party's closing is not what its opening committed to",
  };
}
