import { randomBytes } from "node:crypto";
import {
  type KeygenRequest,
  keygenRequestSchema,
  manifestHash,
  parseShape,
  type SignedKeygenRequest,
  signBody,
  systemClock,
} from "@cairn/core";
import type { TestCluster } from "./node-folder.ts";

/** A request for a key of all members, good for an hour, with the first operator's signature. */
export function signedKeygen(
  { manifest, operators }: Pick<TestCluster, "manifest" | "operators">,
  change: Partial<KeygenRequest> = {},
): SignedKeygenRequest {
  const [operator] = operators;
  if (operator === undefined) throw new RangeError("a cluster has operators");
  const now = systemClock.now();
  const body = parseShape(keygenRequestSchema, {
    version: 1,
    cluster: manifest.cluster,
    manifest: manifestHash(manifest),
    protocol: "frost",
    threshold: manifest.threshold,
    total: manifest.members.length,
    label: "main",
    nonce: randomBytes(32).toString("hex"),
    createdAt: now,
    expiry: now + 3_600_000,
    operator: operator.publicKey,
    ...change,
  });
  return signBody("cairn/keygen-request/v1", body, operator);
}
