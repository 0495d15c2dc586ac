import type { Manifest } from "@cairn/core";
import { type Certificate, formCertificate } from "./certificate.ts";
import type { Tally } from "./voting-state.ts";

/** The certificate that the tally's approvals of `round` form, or null. Voters caught double voting do not count. */
export function certificateOfTally(tally: Tally, round: number, manifest: Manifest): Certificate | null {
  const approvals = [...(tally.votes.get(round)?.values() ?? [])].filter(
    ({ body }) => body.approve && !tally.disregarded.has(body.voter),
  );
  return formCertificate(approvals, manifest);
}
