import {
  CairnError,
  type KeygenApproval,
  keygenRequestHash,
  MAX_REQUEST_LIFETIME_MS,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type SignedKeygenApproval,
  type SignedKeygenRequest,
  type Signer,
  signBody,
  type UnixMs,
  verifyMemberWord,
  verifySigned,
} from "@cairn/core";

/** A node that refused, for the person who asked. */
export interface KeygenRefusal {
  readonly node: NodeIndex;
  /** The member's name in the manifest. */
  readonly name: string;
  /** Error code. */
  readonly reason: string;
}

interface Collected {
  readonly request: SignedKeygenRequest;
  readonly approvals: ReadonlyMap<NodeIndex, SignedKeygenApproval>;
}

/** Where a keygen request stands at one node. All n must approve; the first refusal ends it. */
export type KeygenApprovals =
  | (Collected & { readonly name: "collecting"; readonly missing: readonly NodeIndex[] })
  | (Collected & { readonly name: "approved" })
  | (Collected & { readonly name: "refused"; readonly refusals: readonly KeygenRefusal[] })
  | (Collected & { readonly name: "expired"; readonly missing: readonly NodeIndex[] });

export interface KeygenContext {
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly now: UnixMs;
  readonly clockSkewMs: number;
}

/**
 * What each node checks before it approves a key.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `operator-signature-missing` (no operator of the manifest, or not its
 * signature), `malformed` (threshold, total or lifetime), `clock-skew`, `expired`
 */
export function checkKeygenRequest(signed: SignedKeygenRequest, context: KeygenContext): void {
  const { body } = signed;
  const { manifest } = context;
  if (body.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "the keygen request is for another cluster");
  }
  if (body.manifest !== context.manifestHash) {
    throw new CairnError(
      "wrong-manifest",
      "the keygen request names another manifest than the one in force; start another",
      { named: body.manifest, inForce: context.manifestHash },
    );
  }
  const operates = manifest.members.some((member) => member.operator === body.operator);
  if (!operates || !verifySigned("cairn/keygen-request/v1", signed, body.operator)) {
    throw new CairnError(
      "operator-signature-missing",
      "no operator of the manifest signed the keygen request",
      {
        operator: body.operator,
      },
    );
  }
  if (body.threshold !== manifest.threshold || body.total !== manifest.members.length) {
    throw new CairnError(
      "malformed",
      `the key must be ${manifest.threshold} of ${manifest.members.length}, as the manifest says`,
      { threshold: body.threshold, total: body.total },
    );
  }
  if (body.expiry <= body.createdAt || body.expiry - body.createdAt > MAX_REQUEST_LIFETIME_MS) {
    throw new CairnError(
      "malformed",
      "the keygen request must expire after its creation, within seven days",
      {
        createdAt: body.createdAt,
        expiry: body.expiry,
      },
    );
  }
  if (body.createdAt > context.now + context.clockSkewMs) {
    throw new CairnError("clock-skew", "the keygen request was made in the future; check the clocks", {
      createdAt: body.createdAt,
      now: context.now,
    });
  }
  if (body.expiry <= context.now) {
    throw new CairnError("expired", "the keygen request has expired; start another", { expiry: body.expiry });
  }
}

/** Signs a node's word under `cairn/keygen-approval/v1`. */
export function signKeygenApproval(body: KeygenApproval, signer: Signer): SignedKeygenApproval {
  return signBody("cairn/keygen-approval/v1", body, signer);
}

/** The collection for a request that {@link checkKeygenRequest} accepted. */
export function collectKeygenApprovals(request: SignedKeygenRequest, manifest: Manifest): KeygenApprovals {
  return {
    name: "collecting",
    request,
    approvals: new Map(),
    missing: manifest.members.map((each) => each.index),
  };
}

/**
 * Adds a node's word. A node's first word stands, except that a refusal is heard as long as not all have approved.
 * @throws CairnError `wrong-cluster`, `wrong-state` (another key), `not-member`, `signature-invalid`, `malformed` (a refusal
 * without reason, or an approval with one)
 */
export function addKeygenApproval(
  state: KeygenApprovals,
  signed: SignedKeygenApproval,
  manifest: Manifest,
): KeygenApprovals {
  const { body } = signed;
  verifyMemberWord("cairn/keygen-approval/v1", signed, body.node, manifest);
  if (body.keyId !== keygenRequestHash(state.request.body)) {
    throw new CairnError("wrong-state", "the approval is for another key", { keyId: body.keyId });
  }
  if (body.approve !== (body.reason === null)) {
    throw new CairnError("malformed", "a refusal has a reason, an approval none", { node: body.node });
  }
  if (state.name === "approved" || state.name === "expired") return state;
  const known = state.approvals.get(body.node);
  if (known !== undefined && (body.approve || !known.body.approve)) return state;
  return evaluateApprovals(
    { request: state.request, approvals: new Map(state.approvals).set(body.node, signed) },
    manifest,
  );
}

/** Ends a collection whose time is over. */
export function expireKeygenApprovals(state: KeygenApprovals, now: UnixMs): KeygenApprovals {
  if (state.name !== "collecting" || now < state.request.body.expiry) return state;
  return { name: "expired", request: state.request, approvals: state.approvals, missing: state.missing };
}

function evaluateApprovals(collected: Collected, manifest: Manifest): KeygenApprovals {
  const refusals: KeygenRefusal[] = [];
  const missing: NodeIndex[] = [];
  for (const { index, name } of manifest.members) {
    const word = collected.approvals.get(index)?.body;
    if (word === undefined) missing.push(index);
    else if (word.reason !== null) refusals.push({ node: index, name, reason: word.reason });
  }
  if (refusals.length > 0) return { ...collected, name: "refused", refusals };
  if (missing.length > 0) return { ...collected, name: "collecting", missing };
  return { ...collected, name: "approved" };
}
