import {
  clusterIdOf,
  type Ed25519PublicKey,
  type Manifest,
  manifestSchema,
  parseShape,
  type SignedManifest,
  type Signer,
  sha256Hex,
} from "../src/index.ts";
import { namedSigner } from "./named-signer.ts";

/** What a test knows of a member; the rest is filled in. */
export interface TestMember {
  readonly identity: Ed25519PublicKey;
  readonly sealing?: string | undefined;
  readonly operator?: Ed25519PublicKey | undefined;
  readonly name?: string;
  readonly addresses?: readonly string[];
}

const hash = (text: string) => sha256Hex(Buffer.from(text, "utf8"));

/**
 * A genesis manifest of `members` on regtest with its cluster id: authorisation by quorum, t = ⌊2n/3⌋ + 1, nobody who may ask for a spend.
 * Equal arguments make equal manifests.
 * @param change whatever else a test needs, as the schema takes it
 */
export function testManifest(
  members: readonly TestMember[],
  change: { readonly [Field in keyof Manifest]?: unknown } = {},
): Manifest {
  const shaped = parseShape(manifestSchema, {
    version: 1,
    cluster: "0".repeat(64),
    nonce: hash("nonce"),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: Math.floor((2 * members.length) / 3) + 1,
    members: members.map((member, at) => ({
      index: at + 1,
      name: member.name ?? `node ${at + 1}`,
      identity: member.identity,
      sealing: member.sealing ?? hash(`sealing ${at + 1}`),
      operator: member.operator ?? namedSigner(`operator ${at + 1}`).publicKey,
      addresses: member.addresses ?? [],
      api: null,
    })),
    requesters: [],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: hash("policy"),
    policyVersion: 1,
    policyDelayMs: 0,
    changeDelayMs: 0,
    caFingerprint: hash("ca"),
    unsignedRequests: false,
    checkpointAnchors: false,
    protocolVersions: [1],
    createdAt: 1,
    effectiveAt: change.createdAt ?? 1,
    ...change,
  });
  return { ...shaped, cluster: clusterIdOf(shaped) };
}

/** `manifest` with these operators' signatures. */
export function signedBy(manifest: Manifest, operators: readonly Signer[]): SignedManifest {
  return {
    manifest,
    signatures: operators.map((operator) => ({
      operator: operator.publicKey,
      signature: operator.sign("cairn/manifest/v1", manifest),
    })),
  };
}
