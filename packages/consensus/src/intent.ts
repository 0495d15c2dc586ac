import {
  bodyHash,
  CairnError,
  clusterIdSchema,
  type IntentHash,
  isCairnError,
  MAX_REQUEST_LIFETIME_MS,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  signatureHexSchema,
  signedCheckpointSchema,
  spendRequestSchema,
  type UnixMs,
  unixMsSchema,
  verifyCheckpoint,
  verifyOwner,
  walletIdSchema,
} from "@cairn/core";
import { z } from "zod";

/** Largest PSBT that an intent may carry, in bytes: full previous transactions of some hundred inputs fit. */
export const MAX_PSBT_BYTES = 2 * 1024 * 1024;

/**
 * What the receiving node proposes to sign for a request (architecture §5.2). Its hash is what votes, certificates, grants and
 * voids name, so it binds every byte of the PSBT.
 */
export const intentSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** The owner's request; the signature is null only for unsigned requests, which only regtest can allow. */
  request: z.strictObject({ body: spendRequestSchema, signature: signatureHexSchema.nullable() }),
  /** BIP-174 or BIP-370 bytes. */
  psbt: z
    .instanceof(Uint8Array)
    .refine(
      (psbt) => psbt.length > 0 && psbt.length <= MAX_PSBT_BYTES,
      `expected 1..${MAX_PSBT_BYTES} bytes`,
    ),
  wallet: walletIdSchema,
  /** The checkpoint that the PSBT's last output anchors, whole, so that whoever checks the intent needs no other word for it; or null. */
  anchor: signedCheckpointSchema.nullable(),
  /** The manifest under which nodes vote. */
  manifestHash: manifestHashSchema,
  policyVersion: z.number().int().min(1),
  protocolVersion: z.number().int().min(1),
  /** By the receiving node's clock; the policy delay counts from here, and from each node's own first sight. */
  createdAt: unixMsSchema,
});
export type Intent = z.output<typeof intentSchema>;

export function intentHash(intent: Intent): IntentHash {
  return bodyHash<IntentHash>("cairn/intent/v1", intent);
}

/** The facts that do not depend on who looks or when. */
export interface IntentRules {
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
}

/** What a node checks an intent against before it evaluates policy. */
export interface IntentContext extends IntentRules {
  /** The policy document's version in force at this node. */
  readonly policyVersion: number;
  /** Versions of the peer protocol that this node speaks. */
  readonly protocolVersions: readonly number[];
  readonly now: UnixMs;
  /** How far the receiving node's clock may be ahead, in milliseconds. */
  readonly clockSkewMs: number;
}

/**
 * The checks of an intent that give every honest node the same answer for ever: what a third party can judge. PSBT against
 * request is the bitcoin package's `checkPsbt`.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `wrong-network`, `wrong-wallet`, `wrong-policy`, `unsupported-version`,
 * `unsigned-request`, `unknown-requester`, `signature-invalid`, `malformed` (lifetime or times contradict each other; an anchor that the
 * manifest does not allow, or of what no quorum signed under it)
 */
export function checkIntentForm(intent: Intent, rules: IntentRules): void {
  const { manifest } = rules;
  const request = intent.request.body;
  if (intent.cluster !== manifest.cluster || request.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "the intent or its request is for another cluster");
  }
  if (intent.manifestHash !== rules.manifestHash) {
    throw new CairnError(
      "wrong-manifest",
      "the intent names another manifest than the one in force; exchange manifests, then ask again",
      { named: intent.manifestHash, inForce: rules.manifestHash },
    );
  }
  if (request.network !== manifest.network) {
    throw new CairnError(
      "wrong-network",
      `the request is for ${request.network}, the cluster for ${manifest.network}`,
      {
        network: request.network,
      },
    );
  }
  if (intent.wallet !== request.wallet) {
    throw new CairnError("wrong-wallet", "the intent spends from another wallet than the request names", {
      wallet: intent.wallet,
    });
  }
  if (intent.policyVersion !== manifest.policyVersion) {
    throw new CairnError("wrong-policy", "the intent names another policy version than its manifest", {
      named: intent.policyVersion,
      inForce: manifest.policyVersion,
    });
  }
  if (!manifest.protocolVersions.includes(intent.protocolVersion)) {
    throw new CairnError(
      "unsupported-version",
      "the intent names a protocol version that the manifest does not allow",
      {
        named: intent.protocolVersion,
        allowed: manifest.protocolVersions,
      },
    );
  }
  checkLifetime(intent);
  checkAnchor(intent, rules);
  verifyOwner(intent.request.body, intent.request.signature, manifest);
}

/**
 * All static checks of an intent: {@link checkIntentForm}, and those of this node's clock and software.
 * @throws CairnError the codes of {@link checkIntentForm}, and `wrong-policy`, `unsupported-version` (this node's), `clock-skew`
 * (made in the future), `expired`
 */
export function checkIntent(intent: Intent, context: IntentContext): void {
  checkIntentForm(intent, context);
  if (intent.policyVersion !== context.policyVersion) {
    throw new CairnError(
      "wrong-policy",
      "this node's policy document is not the one that the intent names; install it",
      {
        named: intent.policyVersion,
        inForce: context.policyVersion,
      },
    );
  }
  if (!context.protocolVersions.includes(intent.protocolVersion)) {
    throw new CairnError(
      "unsupported-version",
      "this node does not speak the intent's protocol version; upgrade it",
      {
        named: intent.protocolVersion,
        spoken: context.protocolVersions,
      },
    );
  }
  const latest = context.now + context.clockSkewMs;
  if (intent.createdAt > latest || intent.request.body.createdAt > latest) {
    throw new CairnError("clock-skew", "the intent or its request was made in the future; check the clocks", {
      createdAt: intent.createdAt,
      now: context.now,
    });
  }
  if (intent.request.body.expiry <= context.now) {
    throw new CairnError("expired", "the request has expired; sign a new one", {
      expiry: intent.request.body.expiry,
      now: context.now,
    });
  }
}

function checkAnchor({ anchor }: Intent, rules: IntentRules): void {
  if (anchor === null) return;
  if (!rules.manifest.checkpointAnchors)
    throw new CairnError("malformed", "the intent anchors a checkpoint, which the manifest does not allow");
  try {
    verifyCheckpoint(anchor, rules);
  } catch (cause) {
    if (!isCairnError(cause)) throw cause;
    throw new CairnError(
      "malformed",
      "the intent anchors what is no checkpoint of its manifest",
      { code: cause.code, sequence: anchor.checkpoint.sequence },
      { cause },
    );
  }
}

function checkLifetime(intent: Intent): void {
  const { createdAt, expiry } = intent.request.body;
  if (expiry <= createdAt || expiry - createdAt > MAX_REQUEST_LIFETIME_MS) {
    throw new CairnError(
      "malformed",
      "the request's expiry must come after its creation, and at most seven days after",
      { createdAt, expiry, longestMs: MAX_REQUEST_LIFETIME_MS },
    );
  }
  if (intent.createdAt >= expiry) {
    throw new CairnError("malformed", "the intent was made after its request's expiry", {
      createdAt: intent.createdAt,
      expiry,
    });
  }
}
