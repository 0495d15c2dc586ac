import { type AuditEntry, type GrantId, grantIdSchema } from "@cairn/core";

/** The grant that an audit entry concerns, which its row is found by: `data.grant`, where that is a grant id. */
export function grantOf(entry: AuditEntry): GrantId | null {
  const parsed = grantIdSchema.safeParse(entry.data.grant);
  return parsed.success ? parsed.data : null;
}
