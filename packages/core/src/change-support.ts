import type { Change, Constitution } from "./change.ts";
import { CairnError } from "./error.ts";
import type { Manifest } from "./manifest.ts";

const NEW_CLUSTER = "make a new cluster with `cairn init`, and pay the coins to it";

/** What nodes of this version can't take over while they run, and what to do instead. */
const fixed: readonly {
  readonly field: string;
  readonly of: (manifest: Manifest) => unknown;
  readonly instead: string;
}[] = [
  { field: "members", of: ({ members }) => members.map(({ index }) => index), instead: NEW_CLUSTER },
  { field: "identity", of: ({ members }) => members.map(({ identity }) => identity), instead: NEW_CLUSTER },
  { field: "sealing", of: ({ members }) => members.map(({ sealing }) => sealing), instead: NEW_CLUSTER },
  { field: "threshold", of: ({ threshold }) => threshold, instead: NEW_CLUSTER },
  { field: "caFingerprint", of: ({ caFingerprint }) => caFingerprint, instead: NEW_CLUSTER },
  {
    field: "nonce",
    of: ({ nonce }) => nonce,
    instead: "leave it: it tells clusters of the same people apart",
  },
  {
    field: "authorisation",
    of: ({ authorisation }) => authorisation,
    instead: "leave it: this version knows quorum alone",
  },
  {
    field: "protocolVersions",
    of: ({ protocolVersions }) => protocolVersions,
    instead: "leave it: this version speaks one protocol version",
  },
];

/**
 * Refuses what nodes of this version can't change while they run, and a new policy under an old number.
 * @throws CairnError `unsupported-version` (data: `field`), `wrong-policy`
 */
export function checkSupportedChange(change: Change, { manifest }: Constitution): void {
  if (change.type === "ban-lift") return;
  if (change.type === "refresh") {
    throw new CairnError(
      "unsupported-version",
      "this version has no protocol that refreshes a key's shares; make a new key, and pay the coins to its wallet",
      { field: "refresh" },
    );
  }
  const next = change.manifest;
  for (const { field, of, instead } of fixed) {
    if (JSON.stringify(of(next)) === JSON.stringify(of(manifest))) continue;
    throw new CairnError(
      "unsupported-version",
      `nodes of this version can't change ${field} while they run; ${instead}`,
      { field },
    );
  }
  if (change.policy !== null && change.policy.policyVersion <= manifest.policyVersion) {
    throw new CairnError("wrong-policy", "a new policy needs a higher version than the one in force", {
      policyVersion: change.policy.policyVersion,
      inForce: manifest.policyVersion,
    });
  }
}
