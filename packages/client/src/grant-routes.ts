import { z } from "zod";
import type { Route } from "./contract.ts";
import * as view from "./grant-views.ts";
import { hex32Schema, keygenRequestJsonSchema, signedSpendRequestJsonSchema } from "./json.ts";

/** Longest that a node waits for the rest of a cluster before it answers, in seconds. */
export const MAX_GRANT_WAIT_S = 20;

const query = z.strictObject({
  wait: z.coerce.number().int().min(0).max(MAX_GRANT_WAIT_S).optional().meta({
    description: "Seconds to wait for what is missing; 10 for POST and none for GET where it is left out",
  }),
});

/** Endpoints that hand out grants with their proofs, and judge them. */
export const grantRoutes = {
  createSigningGrant: {
    method: "POST",
    path: "/grant/signing",
    summary:
      "Ask for the grant to sign a spend, with a request that the owner's key signed. A request that is new enters as any other; one that is known is answered with its grant, byte for byte the same",
    tag: "grants",
    role: "spender",
    query,
    body: signedSpendRequestJsonSchema,
    response: view.signingGrantViewSchema,
    waiting: view.signingGrantWaitSchema,
    status: 200,
    refusals: [
      "address-invalid",
      "amount-invalid",
      "dust",
      "insufficient-funds",
      "fee-too-high",
      "wrong-cluster",
      "wrong-network",
      "expired",
      "grant-expired",
      "policy-denied",
      "wrong-state",
      "signature-invalid",
      "unknown-requester",
      "not-found",
      "chain-unavailable",
      "storage-full",
    ],
  },
  getSigningGrant: {
    method: "GET",
    path: "/grant/signing/:request",
    summary: "The grant to sign a spend, by the hash of its request or intent, or its transaction id",
    tag: "grants",
    role: "viewer",
    params: z.object({ request: hex32Schema }),
    query,
    response: view.signingGrantViewSchema,
    waiting: view.signingGrantWaitSchema,
    status: 200,
    refusals: ["expired", "policy-denied", "wrong-state"],
  },
  createKeygenGrant: {
    method: "POST",
    path: "/grant/keygen",
    summary:
      "Ask for the grant to make a key, with a request that an operator's key signed: the approvals of all nodes. A request that is new starts the key's generation",
    tag: "grants",
    role: "operator",
    query,
    body: keygenRequestJsonSchema,
    response: view.keygenGrantViewSchema,
    waiting: view.keygenGrantWaitSchema,
    status: 200,
    refusals: [
      "operator-signature-missing",
      "wrong-cluster",
      "wrong-manifest",
      "expired",
      "grant-expired",
      "wrong-state",
      "storage-full",
    ],
  },
  getKeygenGrant: {
    method: "GET",
    path: "/grant/keygen/:keyId",
    summary: "The grant that a key was made by",
    tag: "grants",
    role: "viewer",
    params: z.object({ keyId: hex32Schema }),
    query,
    response: view.keygenGrantViewSchema,
    waiting: view.keygenGrantWaitSchema,
    status: 200,
    refusals: ["expired", "wrong-state"],
  },
  checkGrant: {
    method: "POST",
    path: "/grant/check",
    summary: "Whether this node would act on a grant now, whoever hands it in; nothing comes of asking",
    tag: "grants",
    role: "viewer",
    body: z.strictObject({
      document: z.base64().min(1).meta({ description: "Canonical `GrantDocument`" }),
    }),
    response: view.grantCheckSchema,
    status: 200,
    refusals: [
      "grant-invalid",
      "grant-expired",
      "replayed",
      "not-yet-valid",
      "wrong-cluster",
      "wrong-network",
      "wrong-wallet",
      "wrong-manifest",
      "signature-invalid",
      "operator-signature-missing",
      "unknown-requester",
      "unsigned-request",
      "certificate-invalid",
      "quorum-missing",
      "not-member",
      "psbt-invalid",
      "not-canonical",
    ],
  },
} as const satisfies Record<string, Route>;
