import { randomBytes } from "node:crypto";
import { contract, type Route, signedSpendRequestJsonSchema } from "@cairn/client";
import {
  encodeCanonical,
  type HashHex,
  keyIdSchema,
  nodeIndexSchema,
  signVerifiedBackup,
  type UnixMs,
} from "@cairn/core";
import type { RestFixture } from "./rest-fixture.ts";

/** What a node under test has, for paths that name it. */
export interface KnownIds {
  readonly txid: string;
  readonly keyId: string;
  readonly session: string;
  readonly violation: string;
  /** A proposal, its operator's signature on the change, and another proposal that nobody has signed. */
  readonly proposal: string;
  readonly signature: string;
  readonly unsigned: string;
  /** Of a token. */
  readonly hash: string;
  /** The signed request of the spend, which all nodes have approved, and its grant's document. */
  readonly spend: unknown;
  readonly grant: string;
  /** The signed request of the key, which all nodes have approved. */
  readonly keygen: unknown;
}

/** Body that makes a token which nobody holds. */
export function newToken(): { readonly name: string; readonly role: string; readonly hash: string } {
  const hash = randomBytes(32).toString("hex");
  return { name: `t-${hash.slice(0, 12)}`, role: "viewer", hash };
}

/** An operator's word on a backup of node 1, base64. */
function verifiedBackup({ cluster: { manifest, operators } }: RestFixture): string {
  const [operator] = operators;
  if (operator === undefined) throw new RangeError("the cluster has no operator");
  const at = 1_800_000_000_000 as UnixMs;
  const word = signVerifiedBackup(
    {
      version: 1,
      cluster: manifest.cluster,
      node: nodeIndexSchema.parse(1),
      backup: "b".repeat(64) as HashHex,
      keys: [],
      createdAt: at,
      verifiedAt: at,
    },
    operator,
  );
  return Buffer.from(encodeCanonical(word)).toString("base64");
}

/** A request that succeeds, for every endpoint of the contract. */
export function requestOf(
  rest: RestFixture,
  name: string,
  known: KnownIds,
): { path: string; body?: unknown } {
  const route: Route | undefined = Object.entries<Route>(contract).find(([key]) => key === name)?.[1];
  const path = (route?.path ?? "")
    .replace(":txid", known.txid)
    .replace(":request", known.txid)
    .replace(":keyId", known.keyId)
    .replace(":session", known.session)
    .replace(":violation", known.violation)
    .replace(":proposal", name === "refuseProposal" ? known.unsigned : known.proposal)
    .replace(":hash", known.hash);
  switch (name) {
    case "overrideAddress":
      return { path, body: {} };
    case "confirmBackup":
      return { path, body: { word: verifiedBackup(rest) } };
    case "createTransaction":
      return { path, body: rest.signedSpend() };
    case "createSigningGrant":
      return { path, body: known.spend };
    case "createKeygenGrant":
      return { path, body: known.keygen };
    case "checkGrant":
      return { path, body: { document: known.grant } };
    case "approveRequest":
      return { path, body: rest.signedApproval() };
    case "createKey":
      return { path, body: rest.signedKeygen() };
    case "createProposal":
      return { path, body: { proposal: rest.proposal().proposal } };
    case "signProposal":
      return { path, body: { signature: known.signature } };
    case "exportAudit":
      return { path: `${path}?part=entries` };
    case "createToken":
      return { path, body: newToken() };
    case "generatePresignatures":
      return { path, body: { keyId: known.keyId, count: 3 } };
    case "checkPolicy":
      return {
        path,
        body: { outputs: [{ address: rest.recipient(), amountSats: "40000" }], maxFeeSats: "1000" },
      };
    default:
      return { path };
  }
}

/** Makes a spend, a key, a session and a token to ask for. */
export async function knownIds(rest: RestFixture): Promise<KnownIds> {
  const session = "5e".repeat(32);
  const violation = "b1".repeat(32);
  const spend = rest.signedSpend();
  const { request, signature: owner } = signedSpendRequestJsonSchema.parse(spend);
  const row = await rest.node.certify(await rest.node.submit(request, owner));
  const grant = await rest.node.grants.signing(row);
  const keygen = rest.signedKeygen();
  const key = await rest.call("POST", "/api/v1/keys", { body: keygen });
  rest.node.approveKey(keyIdSchema.parse(key.json.keyId));
  await rest.store.commit([
    {
      write: "violation",
      row: {
        id: violation as never,
        node: nodeIndexSchema.parse(2),
        type: "Timeout",
        subject: session,
        evidence: new Uint8Array(),
        action: "exclude",
        detectedAt: row.createdAt,
      },
    },
    {
      write: "session",
      row: {
        session: session as never,
        purpose: "sign",
        subject: "grant",
        attempt: 0,
        initiator: nodeIndexSchema.parse(1),
        signers: [nodeIndexSchema.parse(1), nodeIndexSchema.parse(2)],
        state: "done",
        execution: null,
        failure: null,
        startedAt: row.createdAt,
        endedAt: row.updatedAt,
      },
    },
  ]);
  const token = await rest.call("POST", "/api/v1/tokens", { body: newToken() });
  const { signature, ...body } = rest.proposal();
  const [proposal, unsigned] = [
    await rest.call("POST", "/api/v1/proposals", { body }),
    await rest.call("POST", "/api/v1/proposals", { body: { proposal: rest.proposal(999n).proposal } }),
  ].map(({ json }) => String(json.proposal));
  return {
    txid: row.txid,
    keyId: String(key.json.keyId),
    session,
    violation,
    hash: String(token.json.hash),
    proposal: proposal ?? "",
    signature,
    unsigned: unsigned ?? "",
    spend,
    grant: Buffer.from(encodeCanonical(grant)).toString("base64"),
    keygen,
  };
}
