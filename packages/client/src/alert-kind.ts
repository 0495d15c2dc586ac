import { z } from "zod";

/** What operators can be asked to look into. */
export const alertKinds = [
  "rolled-back",
  "storage",
  "no-quorum",
  "clock",
  "ban",
  "violation",
  "peer-set-back",
  "amnesia",
  "peer-down",
  "proposal-conflict",
  "proposal-unsupported",
  "proposal-failed",
  "proposal-waits",
  "backup-missing",
  "stock-empty",
  "chain-unavailable",
  "chain-sources-disagree",
  "coordination",
  "certificate-ends",
] as const;

export const alertKindSchema = z.enum(alertKinds);
export type AlertKind = z.output<typeof alertKindSchema>;
