import type { KeygenGrantView, KeygenGrantWait, SigningGrantView, SigningGrantWait } from "@cairn/client";
import { grantDocumentSchema, intentSchema, type KeygenGrant, type SigningGrant } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  encodeCanonical,
  intentHashSchema,
  type KeyId,
  keygenRequestHash,
  keyIdSchema,
  type RequestHash,
  requestHashSchema,
  type SignedSpendRequest,
  spendQuorum,
  spendRequestHash,
  type TransactionRow,
  txidSchema,
  verifyOwner,
  verifySigned,
} from "@cairn/core";
import type { KeyProgress } from "@cairn/runtime";
import type { ApiModules } from "../api-modules.ts";
import { approvalsView } from "../approvals-view.ts";
import { explainState } from "../explain-state.ts";
import type { Handlers } from "../handler.ts";
import type { Patience } from "../patience.ts";
import { refuseZeroOutputs } from "../refuse-zero-outputs.ts";
import { timeText } from "../time-text.ts";

/** Waits of an asker who names none: long enough for a vote of all, shorter than callers and proxies give up. */
const POST_WAIT_S = 10;

/** Endpoints of grants: this node's own copies, with what proves them. They authorise nothing that the nodes have not approved. */
export function grantHandlers(
  modules: ApiModules,
  patience: Patience,
): Pick<
  Handlers,
  "createSigningGrant" | "getSigningGrant" | "createKeygenGrant" | "getKeygenGrant" | "checkGrant"
> {
  const { me, node, store, clock } = modules;

  /** The grant of the spend that `find` finds, or what it waits for. */
  const signing = async (
    find: () => Promise<TransactionRow>,
    options: { readonly waitS: number; readonly request: RequestHash; readonly usable: boolean },
  ): Promise<SigningGrantView | SigningGrantWait> => {
    const found = await patience.until(
      async () => {
        const row = await find();
        const grant = await node.grants.signing(row);
        if (options.usable) refuseOver(row, grant, clock.now());
        else if (grant === null) refuseEnded(row);
        return grant === null ? null : { row, grant };
      },
      ({ type, data }) => type === "transaction" && data.request === options.request,
      options.waitS * 1_000,
    );
    return found === null ? waiting(await find()) : granted(found.row, found.grant);
  };

  const waiting = async (row: TransactionRow): Promise<SigningGrantWait> => {
    const votes = await store.votes(row.intent);
    const newest = Math.max(0, ...votes.map(({ round }) => round));
    const { request, manifestHash } = decodeCanonical(intentSchema, row.intentBody);
    const approvals = approvalsView(node, row, request.body);
    return {
      status: "waiting",
      request: row.request,
      intent: row.intent,
      txid: row.txid,
      state: row.state,
      explanation: explainState(row, approvals),
      approvals,
      approved: votes.filter(({ round, approve }) => approve && round === newest).map(({ voter }) => voter),
      needed: spendQuorum(node.manifests.under(manifestHash).manifest),
      expiry: timeText(row.expiry),
      again: `/grant/signing/${row.request}`,
    };
  };

  const findKey = (keyId: KeyId): KeyProgress => {
    const found = node.keys.list().find(({ row }) => row.keyId === keyId);
    if (found !== undefined) return found;
    throw new CairnError("not-found", "this node has no such key; `cairn dkg status` lists the keys", {
      keyId,
    });
  };

  /** The grant of a key, or which nodes have not approved it. */
  const keygen = async (
    keyId: KeyId,
    options: { readonly waitS: number; readonly usable: boolean },
  ): Promise<KeygenGrantView | KeygenGrantWait> => {
    const grant = await patience.until(
      async () => {
        const found = node.grants.keygen(keyId);
        if (found === null) refuseFailed(findKey(keyId));
        else if (options.usable && clock.now() >= found.request.body.expiry) {
          throw expired("keygen request", found.request.body.expiry);
        }
        return found;
      },
      ({ type, subject }) => type === "key" && subject === keyId,
      options.waitS * 1_000,
    );
    if (grant !== null) {
      const { expiry } = grant.request.body;
      return { status: "granted", keyId, expiry: timeText(expiry), document: textOf(grant) };
    }
    const { approvals, request } = findKey(keyId);
    const { total, expiry } = request.body;
    return {
      status: "waiting",
      keyId,
      approved: approvals.map(({ body }) => body.node).sort((a, b) => a - b),
      needed: total,
      expiry: timeText(expiry),
      again: `/grant/keygen/${keyId}`,
    };
  };

  return {
    async createSigningGrant({ body: { request, signature }, query }) {
      refuseZeroOutputs(request);
      const hash = spendRequestHash(request);
      const known = await node.grants.spendOf(hash);
      // What gave way to another may be tried with other coins; what is known else is answered from the store. A token opens the door:
      // whoever asks must have the owner's signature for either.
      const ask = known === null || known.reason === "displaced";
      verifyKnown({ body: request, signature }, ask ? await node.submit(request, signature) : known);
      return signing(async () => (await node.grants.spendOf(hash)) ?? absent(hash), {
        waitS: query.wait ?? POST_WAIT_S,
        request: hash,
        usable: true,
      });
    },

    async getSigningGrant({ params: { request: id }, query }) {
      const byIntent =
        (await store.transaction({ intent: intentHashSchema.parse(id) })) ??
        (await store.transaction({ txid: txidSchema.parse(id) }));
      const find = async (): Promise<TransactionRow> =>
        (byIntent === null
          ? await node.grants.spendOf(requestHashSchema.parse(id))
          : await store.transaction({ intent: byIntent.intent })) ?? absent(id);
      const { request } = await find();
      return signing(find, { waitS: query.wait ?? 0, request, usable: false });
    },

    async createKeygenGrant({ body, query }) {
      if (!verifySigned("cairn/keygen-request/v1", body, body.body.operator)) {
        throw new CairnError(
          "operator-signature-missing",
          "the operator's signature on the keygen request does not verify",
          { operator: body.body.operator },
        );
      }
      await node.generateKey(body);
      const keyId = keygenRequestHash(body.body);
      return keygen(keyId, { waitS: query.wait ?? POST_WAIT_S, usable: true });
    },

    getKeygenGrant: ({ params, query }) =>
      keygen(keyIdSchema.parse(params.keyId), { waitS: query.wait ?? 0, usable: false }),

    async checkGrant({ body }) {
      const document = decodeCanonical(grantDocumentSchema, Buffer.from(body.document, "base64"));
      const standing = await node.grants.check(document);
      const signs = document.type === "signing";
      return {
        node: me,
        type: document.type,
        subject: signs ? document.grant.grantId : keygenRequestHash(document.request.body),
        standing,
        expiry: timeText(signs ? document.grant.expiry : document.request.body.expiry),
      };
    },
  };

  /** @throws CairnError `unknown-requester`, `signature-invalid` */
  function verifyKnown({ body, signature }: SignedSpendRequest, row: TransactionRow): void {
    const { manifestHash } = decodeCanonical(intentSchema, row.intentBody);
    verifyOwner(body, signature, node.manifests.under(manifestHash).manifest);
  }
}

function granted(row: TransactionRow, document: SigningGrant): SigningGrantView {
  const { grant } = document;
  return {
    status: "granted",
    grant: grant.grantId,
    request: row.request,
    intent: row.intent,
    txid: row.txid,
    wallet: grant.wallet,
    keyId: grant.keyId,
    notBefore: timeText(grant.notBefore),
    expiry: timeText(grant.expiry),
    document: textOf(document),
  };
}

function textOf(document: SigningGrant | KeygenGrant): string {
  return Buffer.from(encodeCanonical(document)).toString("base64");
}

function absent(id: string): never {
  throw new CairnError(
    "not-found",
    "this node knows no request, intent or transaction of this hash; ask the node that took the request",
    { request: id },
  );
}

/** Who asks in order to sign gets no grant whose time is over. @throws CairnError `grant-expired`, and those of {@link refuseEnded} */
function refuseOver(row: TransactionRow, grant: SigningGrant | null, now: number): void {
  if (grant !== null && now >= row.expiry) throw expired("request", row.expiry);
  refuseEnded(row);
}

function expired(what: string, expiry: number): CairnError {
  return new CairnError("grant-expired", `the grant has expired with its ${what}; sign a new one`, {
    expiry,
  });
}

const endedUnpaid: ReadonlySet<TransactionRow["state"]> = new Set<TransactionRow["state"]>([
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

/** No grant comes of a spend that has ended. @throws CairnError `expired`, `policy-denied`, `wrong-state` */
function refuseEnded({ state, reason, txid }: TransactionRow): void {
  if (!endedUnpaid.has(state)) return;
  const data = { txid, state, reason: reason ?? "" };
  if (state === "expired")
    throw new CairnError("expired", "the request expired before nodes approved it", data);
  if (state === "rejected" && reason?.startsWith("policy-")) {
    throw new CairnError("policy-denied", `policy does not allow the spend (${reason})`, data);
  }
  throw new CairnError(
    "wrong-state",
    `no grant comes of the spend: it is ${state}; \`cairn tx status\` says why`,
    data,
  );
}

/** No grant comes of a key that is given up. @throws CairnError `expired`, `wrong-state` */
function refuseFailed({ row: { status, reason, keyId } }: KeyProgress): void {
  if (status !== "failed") return;
  const data = { keyId, reason: reason ?? "" };
  if (reason === "expired")
    throw new CairnError("expired", "the keygen request expired before all nodes approved it", data);
  throw new CairnError(
    "wrong-state",
    "no grant comes of the key: its generation failed; start another",
    data,
  );
}
