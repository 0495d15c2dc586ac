import type { GrantId, HashHex, KeyPath, NodeIndex, PresignatureId, Protocol } from "@cairn/core";
import {
  makeProposal,
  type PresignJob,
  type Proposal,
  presignJobHash,
  type SessionWork,
} from "../../src/index.ts";
import {
  type BenchNode,
  cluster,
  keyId,
  nodesOf,
  preimageOf,
  resultOf,
  SessionBench,
} from "./session-bench.ts";

export const grantId = "9a".repeat(32) as GrantId;
export const paths: readonly KeyPath[] = [
  [0, 0],
  [0, 1],
];

/** A bench whose nodes hold a key, made by a session of their own. */
export async function benchWithKey(protocol: Protocol, total = 5, threshold = 4): Promise<SessionBench> {
  const bench = new SessionBench(total);
  const members = [...bench.nodes.keys()];
  const aux = new Map<NodeIndex, Uint8Array>();
  if (protocol === "cggmp24") {
    const proposal = keygenProposal("aux", members);
    bench.begin(proposal, () => ({ kind: "engine", spec: { kind: "cggmp24-aux", parties: members } }));
    await bench.run();
    for (const node of bench.nodes.values()) {
      const result = resultOf(node, proposal.sessionId);
      if (result?.kind !== "engine" || result.result.kind !== "cggmp24-aux")
        throw new Error("no auxiliary information");
      aux.set(node.index, result.result.sealedAux);
    }
  }
  const proposal = keygenProposal("keygen", members);
  bench.begin(proposal, (node): SessionWork => {
    const common = { keyId, epoch: 0, parties: members, threshold };
    return protocol === "frost"
      ? { kind: "engine", spec: { kind: "frost-keygen", ...common } }
      : {
          kind: "engine",
          spec: { kind: "cggmp24-keygen", ...common, sealedAux: aux.get(node.index) ?? new Uint8Array() },
        };
  });
  await bench.run();
  for (const node of bench.nodes.values()) {
    const result = resultOf(node, proposal.sessionId);
    if (result?.kind !== "engine" || !("sealedShare" in result.result)) throw new Error("no key");
    node.sealedShare = new Uint8Array(result.result.sealedShare);
    node.publicPackage = new Uint8Array(result.result.publicPackage);
    node.effects.length = 0;
  }
  return bench;
}

function keygenProposal(step: "aux" | "keygen", members: readonly NodeIndex[]): Proposal {
  return makeProposal({
    cluster,
    purpose: "keygen",
    subject: keyId as string as HashHex,
    stage: { step, part: 0 },
    job: null,
    attempt: 0,
    initiator: 1 as NodeIndex,
    signers: [...members],
    protocolVersion: 1,
    items: null,
  });
}

/** Lets `signers` make one presignature for each of `wanted`, all ready. */
export async function stockUp(
  bench: SessionBench,
  signers: readonly NodeIndex[],
  wanted: readonly KeyPath[] = paths,
  slot = 0,
): Promise<readonly PresignatureId[]> {
  const job: PresignJob = {
    version: 1,
    cluster,
    keyId,
    epoch: 0,
    signers: [...signers],
    paths: wanted.map(([change, index]): [0 | 1, number] => [change, index]),
    slot,
  };
  const [initiator] = signers;
  if (initiator === undefined) throw new Error("no signers");
  const proposal = makeProposal({
    cluster,
    purpose: "presign",
    subject: presignJobHash(job),
    stage: null,
    job,
    attempt: 0,
    initiator,
    signers: [...signers],
    protocolVersion: 1,
    items: null,
  });
  bench.begin(proposal, (node) => ({
    kind: "engine",
    spec: { kind: "cggmp24-presign", keyId, epoch: 0, signers, sealedShare: node.sealedShare },
  }));
  await bench.run();
  let ids: readonly PresignatureId[] = [];
  for (const index of signers) {
    const node = bench.node(index);
    const result = resultOf(node, proposal.sessionId);
    if (result?.kind !== "engine" || result.result.kind !== "cggmp24-presign")
      throw new Error("no presignatures");
    ids = result.result.items.map((item) => item.presignatureId);
    result.result.items.forEach(({ presignatureId, sealed, publicData }, item) => {
      const path = wanted[item] ?? [0, 0];
      const facts = { id: presignatureId, keyId, path, epoch: 0, signers, state: "ready" } as const;
      node.stock.set(presignatureId, { facts, sealed, publicData });
    });
    node.effects.length = 0;
  }
  return ids;
}

export function signProposal(parts: {
  readonly signers: readonly NodeIndex[];
  readonly items?: readonly PresignatureId[];
  readonly attempt?: number;
  readonly initiator?: number;
  readonly subject?: string;
}): Proposal {
  return makeProposal({
    cluster,
    purpose: "sign",
    subject: (parts.subject ?? grantId) as HashHex,
    stage: null,
    job: null,
    attempt: parts.attempt ?? 0,
    initiator: (parts.initiator ?? parts.signers[0] ?? 1) as NodeIndex,
    signers: [...parts.signers],
    protocolVersion: 1,
    items: parts.items === undefined ? null : [...parts.items],
  });
}

/** Signing from presignatures, one input a path. */
export function presignedWork(
  node: BenchNode,
  items: readonly PresignatureId[],
  name = "payment",
  wanted: readonly KeyPath[] = paths,
): SessionWork {
  return {
    kind: "presigned",
    keyId,
    epoch: 0,
    inputs: items.map((presignatureId, input) => ({
      input,
      presignatureId,
      path: wanted[input] ?? [0, 0],
      ...preimageOf(`${name} ${input}`),
    })),
    stock: [...node.stock.values()].map(({ facts }) => facts),
  };
}

/** Signing with the full protocol. */
export function fullWork(
  node: BenchNode,
  protocol: Protocol,
  signers: readonly NodeIndex[],
  name = "payment",
): SessionWork {
  return {
    kind: "engine",
    spec: {
      kind: protocol === "frost" ? "frost-sign" : "cggmp24-sign",
      keyId,
      epoch: 0,
      signers,
      sealedShare: node.sealedShare,
      items: paths.map((path, input) => ({ path, preimage: preimageOf(`${name} ${input}`).preimage })),
    },
  };
}

export const fourSigners = nodesOf(1, 2, 3, 4);
