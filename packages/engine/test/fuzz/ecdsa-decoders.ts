import { join } from "node:path";
import { after } from "node:test";
import { CairnError, fromHex } from "@cairn/core";
import { type Decoder, jsonDecoder } from "@cairn/core/test-support";
import type { NativeSealedPrime } from "@cairn/native-engine";
import { native } from "@cairn/native-engine/reduced";
import type { EngineSpec } from "@cairn/signing";
import { createVerificationOver } from "../../src/create-verification.ts";
import { failureError } from "../../src/native-error.ts";
import {
  auxiliary,
  ecdsaKey,
  executionId,
  keyId,
  type Message,
  node,
  openCluster,
  presignatureId,
  results,
  runSession,
  shareOf,
  signerFacts,
} from "../support/wire.ts";
import { exact } from "./exact.ts";
import { firstAnswer } from "./first-answer.ts";
import { sessionRefusal } from "./session-refusal.ts";
import { typed } from "./typed.ts";

const [one, two] = [node(1), node(2)];
const signers = [one, two];
const path = [0, 5] as const;
const [change, index] = path;
const preimage = Uint8Array.of(0, 1, 2);

// A search for primes alone does not keep a process alive.
const alive = setInterval(() => undefined, 1_000);
const cluster = await openCluster({ size: 2, primes: { target: 4 } });
after(() => cluster.close());
const aux = await auxiliary(cluster);
const key = await ecdsaKey(cluster, aux, 2);
const sealedAux = aux.get(one) ?? new Uint8Array();
const verification = createVerificationOver(native);

/** A further handle on the vault of node 1, for what the engine keeps to itself: raw calls, and receipts of its own. */
const openHandle = () =>
  native.NativeEngine.open({
    cluster: fromHex(cluster.clusterId),
    node: one,
    vaultHeader: join(cluster.folder, "node-1", "vault.header"),
    keySource: { kind: "file", path: join(cluster.folder, "key-1") },
  });
const handle = openHandle();
after(() => handle.close());

const primes = await new Promise<NativeSealedPrime[]>((resolve, reject) => {
  const found: NativeSealedPrime[] = [];
  handle.generatePrimes(4, 1, ({ id, sealed, failure }) => {
    if (id === undefined || sealed === undefined) return reject(new Error(failure?.message));
    if (found.push({ id, sealed }) === 4) resolve(found);
  });
});
clearInterval(alive);

type SpecAt = (me: typeof one, execution: ReturnType<typeof executionId>) => EngineSpec;
const item = { presignatureId: presignatureId(), path };
const keygenSpec: SpecAt = (me, execution) => ({
  kind: "cggmp24-keygen",
  executionId: execution,
  keyId: key.keyId,
  epoch: key.epoch,
  me,
  parties: signers,
  threshold: 2,
  sealedAux: aux.get(me) ?? new Uint8Array(),
});
const presignSpec: SpecAt = (me, execution) => ({
  kind: "cggmp24-presign",
  ...signerFacts(key, signers, me, execution),
  items: [item],
});
const signSpec: SpecAt = (me, execution) => ({
  kind: "cggmp24-sign",
  ...signerFacts(key, signers, me, execution),
  items: [{ path, preimage }],
});

/** All messages of node 2 in a session that ends well, and what it made. */
async function recorded(spec: SpecAt): Promise<{
  readonly messages: readonly Message[];
  readonly ends: Awaited<ReturnType<typeof runSession>>;
}> {
  const messages: Message[] = [];
  const execution = executionId();
  const ends = await runSession(
    cluster,
    signers,
    (me) => spec(me, execution),
    (message) => {
      if (message.from === two) messages.push(message);
      return [message];
    },
  );
  return { messages, ends };
}

const presigning = await recorded(presignSpec);
const made = results(presigning.ends, "cggmp24-presign");
const publicData = made.get(one)?.items[0]?.publicData ?? new Uint8Array();
const sealedPresignature = made.get(one)?.items[0]?.sealed ?? new Uint8Array();
const signing = await recorded(signSpec);
const signature = results(signing.ends, "cggmp24-sign").get(one)?.signatures[0] ?? new Uint8Array();

const issueOptions = {
  keyId: fromHex(key.keyId),
  epoch: key.epoch,
  sealedPresignature,
  presignatureId: fromHex(item.presignatureId),
  receiptEpoch: key.epoch,
  burnCounter: 1,
  change,
  index,
  signers: [...signers],
  preimage,
};
const partials = await Promise.all(
  signers.map(async (from) => ({
    from,
    partial: await cluster.engine(from).issuePartial({
      keyId: key.keyId,
      epoch: key.epoch,
      sealedPresignature: made.get(from)?.items[0]?.sealed ?? new Uint8Array(),
      receipt: { presignatureId: item.presignatureId, epoch: key.epoch, burnCounter: 1 },
      path,
      signers,
      me: from,
      preimage,
    }),
  })),
);

let issuing = openHandle();
after(() => issuing.close());
/** Issues a partial as often as it is asked well: a handle that has issued one is replaced, since it has consumed the presignature. */
async function issue(options: typeof issueOptions): Promise<void> {
  await typed(() => issuing.issuePartial(options));
  issuing.close();
  issuing = openHandle();
}

async function combined(altered: {
  readonly publicPackage?: Uint8Array;
  readonly publicData?: Uint8Array;
  readonly preimage?: Uint8Array;
  readonly partial?: Uint8Array;
}): Promise<boolean> {
  const { partial, ...others } = altered;
  await verification.combinePartials({
    publicPackage: key.publicPackage,
    publicData,
    path,
    preimage,
    partials: partials.map((each) => (each.from === two && partial ? { from: two, partial } : each)),
    ...others,
  });
  return true;
}

const verified = (altered: {
  readonly publicPackage?: Uint8Array;
  readonly preimage?: Uint8Array;
  readonly signature?: Uint8Array;
}): Promise<boolean> =>
  verification.verify({ publicPackage: key.publicPackage, path, preimage, signature, ...altered });

/** JSON of a call's arguments; bytes are `{ "hex": … }`. */
function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, toJson(part)]));
}

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== "object" || value === null) return value;
  if ("hex" in value && typeof value.hex === "string") return new Uint8Array(Buffer.from(value.hex, "hex"));
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, fromJson(part)]));
}

/** A call of the binding with arguments of any shape, as no TypeScript would let it be made. */
function call(name: string, sample: readonly unknown[], make: (...input: never[]) => unknown): Decoder {
  return jsonDecoder(`call-${name}`, [toJson(sample)], async (text) => {
    const input = argumentsOf(text);
    await typed(() => make(...(input as never[])));
  });
}

function argumentsOf(text: string): unknown[] {
  try {
    const input = fromJson(JSON.parse(text));
    if (Array.isArray(input)) return input;
  } catch {}
  throw new CairnError("malformed", "no arguments can be read from this");
}

const nativeKey = { keyId: fromHex(key.keyId), epoch: key.epoch };
const starts = {
  aux: { kind: "cggmp24-aux", primes },
  keygen: { kind: "cggmp24-keygen", ...nativeKey, threshold: 2, sealedAux },
  presign: {
    kind: "cggmp24-presign",
    ...nativeKey,
    sealedShare: shareOf(key, one),
    items: [{ change, index, id: fromHex(item.presignatureId) }],
  },
  sign: {
    kind: "cggmp24-sign",
    ...nativeKey,
    sealedShare: shareOf(key, one),
    items: [{ change, index, preimage }],
  },
};

/** Every call of the native library with what CGGMP24 makes. */
export const decoders: readonly Decoder[] = [
  {
    name: "ecdsa-public-package",
    samples: [key.publicPackage],
    decode: (input) => typed(() => native.describe(input)),
  },
  exact("ecdsa-verify-signature", signature, (input) => verified({ signature: input })),
  exact("ecdsa-verify-preimage", preimage, (input) => verified({ preimage: input })),
  {
    name: "ecdsa-verify-package",
    samples: [key.publicPackage],
    decode: (input) => verified({ publicPackage: input }),
  },
  exact("ecdsa-combine-data", publicData, (input) => combined({ publicData: input })),
  exact("ecdsa-combine-partial", partials[1]?.partial ?? new Uint8Array(), (input) =>
    combined({ partial: input }),
  ),
  exact("ecdsa-combine-preimage", preimage, (input) => combined({ preimage: input })),
  {
    name: "ecdsa-combine-package",
    samples: [key.publicPackage],
    decode: (input) => combined({ publicPackage: input }),
  },
  exact("ecdsa-sealed-presignature", sealedPresignature, async (input) => {
    await issue({ ...issueOptions, sealedPresignature: input });
    return true;
  }),
  call("issue-partial", [issueOptions], issue),
  call(
    "combine",
    [key.publicPackage, publicData, change, index, preimage, partials],
    async (...input: Parameters<typeof native.combine>) => {
      const { failure } = await native.combine(...input);
      if (failure !== undefined) throw failureError(failure);
    },
  ),
  call(
    "verify",
    [key.publicPackage, change, index, preimage, signature],
    async (...input: Parameters<typeof native.verify>) => {
      const { failure } = await native.verify(...input);
      if (failure !== undefined) throw failureError(failure);
    },
  ),
];

/** What runs a session's first step for an input, which takes milliseconds. */
export const sessionDecoders: readonly Decoder[] = [
  exact("ecdsa-sealed-aux", sealedAux, async (input) => {
    const spec = { ...keygenSpec(one, executionId()), keyId: keyId(), sealedAux: input } as EngineSpec;
    await firstAnswer(cluster.engine(one), spec, 1);
    return true;
  }),
  exact("ecdsa-sealed-share", shareOf(key, one), async (input) => {
    const spec = { ...signSpec(one, executionId()), sealedShare: input } as EngineSpec;
    await firstAnswer(cluster.engine(one), spec, 1);
    return true;
  }),
  ...Object.entries(starts).map(([name, options]) =>
    call(
      `start-${name}`,
      [{ executionId: fromHex(executionId()), me: one, parties: [...signers], ...options }],
      (input: Parameters<typeof handle.start>[0]) => handle.start(input, () => undefined).cancel(),
    ),
  ),
];

/** Version, kind, round, broadcast, item, execution and context: what stands before a message's body. */
const PLACE_BYTES = 70;
/** Milliseconds that two honest machines may take over a session. */
const PATIENCE_MS = 60_000;

/**
 * Node 2's message of one round, in a session of its own for every input: the place is that of the session, the body is the
 * input's. What was recorded in another session is well-formed and wrong.
 */
function exchange(name: string, spec: SpecAt, sample: Message): Decoder {
  return {
    name: `ecdsa-${name}-${sample.round}-${sample.broadcast ? "broadcast" : "private"}`,
    samples: [],
    near: [sample.payload.subarray(PLACE_BYTES)],
    decode: async (input) => {
      const execution = executionId();
      let patience: NodeJS.Timeout | undefined;
      const overdue = new Promise<never>((_, reject) => {
        patience = setTimeout(() => reject(new Error("the session neither ends nor fails")), PATIENCE_MS);
      });
      const running = runSession(
        cluster,
        signers,
        (me) => spec(me, execution),
        (message) =>
          message.from === two && message.round === sample.round && message.broadcast === sample.broadcast
            ? [{ ...message, payload: Buffer.concat([message.payload.subarray(0, PLACE_BYTES), input]) }]
            : [message],
        [one],
      );
      const ends = await Promise.race([running, overdue]).finally(() => clearTimeout(patience));
      const end = ends.get(one);
      if (end !== undefined && "failed" in end) throw sessionRefusal(end.failed);
    },
  };
}

/** Every message of a session's rounds. */
export const exchangeDecoders: readonly Decoder[] = [
  ...(await recorded(keygenSpec)).messages.map((message) => exchange("keygen", keygenSpec, message)),
  ...presigning.messages.map((message) => exchange("presign", presignSpec, message)),
  ...signing.messages.map((message) => exchange("sign", signSpec, message)),
];
