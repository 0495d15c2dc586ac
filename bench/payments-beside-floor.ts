import type { NodeIndex } from "@cairn/core";
import type { EngineSpec } from "@cairn/signing";
import {
  auxiliary,
  type Cluster,
  ecdsaKey,
  executionId,
  frostKey,
  type Key,
  openCluster,
  presignatureId,
  results,
  runSession,
  shareOf,
} from "../packages/engine/test/support/wire.ts";
import { type Cryptography, measureFloor, type PaymentKind } from "./floor.ts";
import { payments } from "./payments.ts";
import type { Plan } from "./plan.ts";
import type { Entry } from "./report.ts";
import { median } from "./spread.ts";

const SAMPLES = 5;
const THRESHOLD = 4;
const PREIMAGE = new Uint8Array(182).fill(3);
const PATH = [0, 5] as const;

/** Measures the parts of the floor first, then the payments. */
export async function paymentsBesideFloor(
  kind: PaymentKind,
  plan: Plan,
  cores: number,
): Promise<readonly Entry[]> {
  return payments(kind, plan, await measureFloor(kind, await cryptography(kind), cores), cores);
}

/** Processor time of the engines alone, with messages handed over in memory: ECDSA at the reduced level, as in the payments. */
async function cryptography(kind: PaymentKind): Promise<Cryptography> {
  const cluster = await openCluster({ primes: { target: kind === "frost" ? 0 : 4 } });
  try {
    const key =
      kind === "frost" ? await frostKey(cluster) : await ecdsaKey(cluster, await auxiliary(cluster));
    const samples: Cryptography[] = [];
    for (let sample = 1; sample <= SAMPLES; sample += 1)
      samples.push(
        kind === "ecdsaStocked"
          ? await online(cluster, key, sample)
          : await whole(cluster, key, kind === "frost" ? "frost-sign" : "cggmp24-sign"),
      );
    return {
      party: median(samples.map(({ party }) => party)),
      all: median(samples.map(({ all }) => all)),
    };
  } finally {
    await cluster.close();
  }
}

function signersOf(cluster: Cluster): readonly NodeIndex[] {
  return cluster.nodes.slice(0, THRESHOLD);
}

/** A signature by the full protocol. */
async function whole(cluster: Cluster, key: Key, kind: "frost-sign" | "cggmp24-sign"): Promise<Cryptography> {
  const signers = signersOf(cluster);
  const execution = executionId();
  const spec = (me: NodeIndex): EngineSpec => ({
    kind,
    executionId: execution,
    keyId: key.keyId,
    epoch: 0,
    me,
    signers,
    sealedShare: shareOf(key, me),
    items: [{ path: PATH, preimage: PREIMAGE }],
  });
  const all = await spent(async () => void results(await runSession(cluster, signers, spec), kind));
  return { party: all / THRESHOLD, all };
}

/** A signature from a presignature: every signer's partial, then the initiator's combination and check. */
async function online(cluster: Cluster, key: Key, burn: number): Promise<Cryptography> {
  const signers = signersOf(cluster);
  const id = presignatureId();
  const execution = executionId();
  const made = results(
    await runSession(cluster, signers, (me) => ({
      kind: "cggmp24-presign",
      executionId: execution,
      keyId: key.keyId,
      epoch: 0,
      me,
      signers,
      sealedShare: shareOf(key, me),
      items: [{ presignatureId: id, path: PATH }],
    })),
    "cggmp24-presign",
  );
  const itemOf = (me: NodeIndex) => {
    const item = made.get(me)?.items[0];
    if (item === undefined) throw new Error(`node ${me} made no presignature`);
    return item;
  };
  const partials: { from: NodeIndex; partial: Uint8Array }[] = [];
  const issue = await spent(async () => {
    for (const me of signers) {
      const partial = await cluster.engine(me).issuePartial({
        keyId: key.keyId,
        epoch: 0,
        me,
        sealedPresignature: itemOf(me).sealed,
        receipt: { presignatureId: id, epoch: 0, burnCounter: burn },
        path: PATH,
        signers,
        preimage: PREIMAGE,
      });
      partials.push({ from: me, partial });
    }
  });
  const [first] = signers;
  if (first === undefined) throw new Error("the cluster has no nodes");
  const input = { publicPackage: key.publicPackage, path: PATH, preimage: PREIMAGE };
  const { publicData } = itemOf(first);
  const combine = await spent(async () => {
    const signature = await cluster.engine(first).combinePartials({ ...input, publicData, partials });
    if (!(await cluster.engine(first).verify({ ...input, signature })))
      throw new Error("the signature does not verify");
  });
  return { party: issue / THRESHOLD + combine, all: issue + combine };
}

/** Processor time of the whole process that `work` takes, in milliseconds. */
async function spent(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
