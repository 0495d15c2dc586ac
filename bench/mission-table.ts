import { randomBytes } from "node:crypto";
import {
  type KeyPath,
  keyIdSchema,
  type NodeIndex,
  presignatureIdSchema,
  sessionIdSchema,
} from "@cairn/core";
import { createEngine } from "@cairn/engine";
import { createReducedEngine } from "@cairn/engine/reduced";
import type { EngineResult } from "@cairn/signing";
import { Mesh } from "./mesh.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { median, over, spreadOf } from "./spread.ts";

const DELAY_MS = 80;
const THRESHOLD = 4;
const PATH: KeyPath = [0, 5];
/** As long as the BIP-143 preimage of a P2WPKH input. */
const PREIMAGE = new Uint8Array(182).fill(3);

interface Row {
  readonly what: string;
  /** The reference design's figure, in milliseconds. */
  readonly reference: number;
  /** Messages one after another on the way to the result at the slowest party. */
  readonly hops: number;
  readonly work: () => Promise<unknown>;
  /** Made before the clock starts. */
  readonly before?: () => Promise<void>;
  /** Runs seconds of processor time: fewer samples. */
  readonly heavy: boolean;
}

/**
 * The table of speeds: five parties, sealed and signed messages over mutual TLS, at loopback and with every message held for 80 ms.
 * Each delayed figure is divided by its floor: the same work at loopback in this run, and the delays that no protocol with so many
 * messages one after another can escape.
 */
export async function missionTable(plan: Plan): Promise<readonly Entry[]> {
  const level = plan.quick ? "reduced" : "full";
  const section = `five parties, ${level} level, sealed envelopes over mutual TLS`;
  const create = plan.quick ? createReducedEngine : createEngine;
  const mesh = await Mesh.open(create, { target: 4, threads: 1 });
  try {
    const rows = await prepare(mesh);
    const entries: Entry[] = [];
    for (const row of rows) {
      const samples = row.heavy && !plan.quick ? 3 : plan.samples;
      const near = await times(mesh, row, samples, 0);
      const far = await times(mesh, row, row.heavy && !plan.quick ? 2 : samples, DELAY_MS);
      const floor = median(near) + row.hops * DELAY_MS;
      entries.push({
        section,
        what: `${row.what}, +${DELAY_MS} ms a message`,
        partner: `loopback + ${row.hops} × ${DELAY_MS} ms`,
        ratio: over(far, floor),
        target: null,
        note: `loopback ${ms(median(near))}, delayed ${ms(median(far))} [reference ${ms(row.reference)}]`,
        details: { near: spreadOf(near), far: spreadOf(far), referenceMs: row.reference },
      });
    }
    return entries;
  } finally {
    await mesh.close();
  }
}

async function times(mesh: Mesh, row: Row, samples: number, delayMs: number): Promise<number[]> {
  const taken: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    mesh.delayMs = 0;
    await row.before?.();
    mesh.delayMs = delayMs;
    const began = performance.now();
    await row.work();
    taken.push(performance.now() - began);
  }
  mesh.delayMs = 0;
  return taken;
}

/** Makes keys, and the work of each row. */
async function prepare(mesh: Mesh): Promise<readonly Row[]> {
  const parties = mesh.nodes;
  const signers = parties.slice(0, THRESHOLD);
  const [first] = signers;
  if (first === undefined) throw new Error("the mesh has no nodes");
  const aux = only(
    await mesh.run(parties, (me, executionId) => ({ kind: "cggmp24-aux", executionId, me, parties })),
    "cggmp24-aux",
  );
  const keygen = (protocol: "cggmp24" | "frost") => {
    const keyId = keyIdSchema.parse(hex32());
    return mesh
      .run(parties, (me, executionId) => {
        const shared = { executionId, keyId, epoch: 0, me, parties, threshold: THRESHOLD };
        if (protocol === "frost") return { kind: "frost-keygen", ...shared };
        return { kind: "cggmp24-keygen", ...shared, sealedAux: of(aux, me).sealedAux };
      })
      .then((made) => ({ keyId, made }));
  };
  const ecdsa = await keygen("cggmp24");
  const frost = await keygen("frost");
  const ecdsaShares = only(ecdsa.made, "cggmp24-keygen");
  const frostShares = only(frost.made, "frost-keygen");
  const presign = async () => {
    const presignatureId = presignatureIdSchema.parse(hex32());
    const made = await mesh.run(signers, (me, executionId) => ({
      kind: "cggmp24-presign",
      executionId,
      keyId: ecdsa.keyId,
      epoch: 0,
      me,
      signers,
      sealedShare: of(ecdsaShares, me).sealedShare,
      items: [{ presignatureId, path: PATH }],
    }));
    return { presignatureId, made: only(made, "cggmp24-presign") };
  };
  const sign = (kind: "cggmp24-sign" | "frost-sign") =>
    mesh.run(signers, (me, executionId) => ({
      kind,
      executionId,
      keyId: kind === "frost-sign" ? frost.keyId : ecdsa.keyId,
      epoch: 0,
      me,
      signers,
      sealedShare: (kind === "frost-sign" ? of(frostShares, me) : of(ecdsaShares, me)).sealedShare,
      items: [{ path: PATH, preimage: PREIMAGE }],
    }));

  const stock: Awaited<ReturnType<typeof presign>>[] = [];
  let burns = 0;
  /** The initiator asks, every signer issues its partial, the initiator combines and verifies. */
  const online = async () => {
    const item = stock.pop();
    if (item === undefined) throw new Error("no presignature is in stock");
    const { presignatureId } = item;
    burns += 1;
    const issue = (me: NodeIndex) => {
      const sealedPresignature = of(item.made, me).items[0]?.sealed;
      if (sealedPresignature === undefined) throw new Error("a presignature is missing");
      return mesh.engine(me).issuePartial({
        keyId: ecdsa.keyId,
        epoch: 0,
        me,
        sealedPresignature,
        receipt: { presignatureId, epoch: 0, burnCounter: burns },
        path: PATH,
        signers,
        preimage: PREIMAGE,
      });
    };
    const session = sessionIdSchema.parse(hex32());
    const partials: { from: NodeIndex; partial: Uint8Array }[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const take = (from: NodeIndex, partial: Uint8Array) => {
      partials.push({ from, partial });
      if (partials.length === THRESHOLD) resolve();
    };
    mesh.listen(session, first, (from, { payload }) => take(from, payload));
    for (const me of signers) {
      const payload = await issue(me);
      if (me === first) take(me, payload);
      else mesh.send(me, first, { kind: "partial", session, round: 1, payload, trace: null });
    }
    await promise;
    mesh.listen(session, first, null);
    const { publicPackage } = of(ecdsaShares, first);
    const publicData = of(item.made, first).items[0]?.publicData;
    if (publicData === undefined) throw new Error("a presignature is missing");
    const engine = mesh.engine(first);
    const signature = await engine.combinePartials({
      publicPackage,
      publicData,
      path: PATH,
      preimage: PREIMAGE,
      partials: partials.sort((a, b) => a.from - b.from),
    });
    if (!(await engine.verify({ publicPackage, path: PATH, preimage: PREIMAGE, signature })))
      throw new Error("the signature does not verify");
  };
  return [
    {
      what: "ECDSA signature from a presignature",
      reference: 180,
      hops: 1,
      heavy: true,
      before: async () => void stock.push(await presign()),
      work: online,
    },
    {
      what: "ECDSA signature, full protocol",
      reference: 2000,
      hops: 5,
      heavy: true,
      work: () => sign("cggmp24-sign"),
    },
    { what: "ECDSA presignature", reference: 1500, hops: 4, heavy: true, work: presign },
    {
      what: "ECDSA keygen, auxiliary information ready",
      reference: 2300,
      hops: 4,
      heavy: false,
      work: () => keygen("cggmp24"),
    },
    { what: "FROST keygen", reference: 1800, hops: 4, heavy: false, work: () => keygen("frost") },
    { what: "FROST signature", reference: 900, hops: 2, heavy: false, work: () => sign("frost-sign") },
  ];
}

function only<Kind extends EngineResult["kind"]>(
  made: ReadonlyMap<NodeIndex, EngineResult>,
  kind: Kind,
): ReadonlyMap<NodeIndex, EngineResult & { readonly kind: Kind }> {
  const found = new Map<NodeIndex, EngineResult & { readonly kind: Kind }>();
  for (const [me, result] of made) {
    if (!isKind(result, kind)) throw new Error(`node ${me} made ${result.kind}`);
    found.set(me, result);
  }
  return found;
}

function isKind<Kind extends EngineResult["kind"]>(
  result: EngineResult,
  kind: Kind,
): result is EngineResult & { readonly kind: Kind } {
  return result.kind === kind;
}

function of<T>(made: ReadonlyMap<NodeIndex, T>, me: NodeIndex): T {
  const found = made.get(me);
  if (found === undefined) throw new Error(`node ${me} made nothing`);
  return found;
}

function hex32(): string {
  return randomBytes(32).toString("hex");
}

function ms(value: number): string {
  return value >= 100 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`;
}
