import { CairnError, type Policy, parseShape, policySchema } from "@cairn/core";

/** A policy as people edit it: amounts as decimal strings, all else as in the document. */
export function policyToJson(policy: Policy): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(policy, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value)),
  );
}

/** @throws CairnError `malformed` with the place that is wrong */
export function policyFromJson(text: string): Policy {
  let raw: unknown;
  try {
    // Only amounts are ever strings of digits.
    raw = JSON.parse(text, (_key, value: unknown) =>
      typeof value === "string" && /^(0|[1-9][0-9]{0,15})$/.test(value) ? BigInt(value) : value,
    );
  } catch (cause) {
    throw new CairnError(
      "malformed",
      "the policy is not JSON; `cairn policy show` prints one",
      {},
      { cause },
    );
  }
  return parseShape(policySchema, raw);
}
