import { type NodeIndex, type NodeStore, spendQuorum, type UnixMs } from "@cairn/core";
import { type ChangeProgress, type KeyProgress, wordsOf } from "@cairn/runtime";
import type { AlertFact, AlertSource } from "./alert-desk.ts";
import type { ApiModules } from "./api-modules.ts";

export type AlertedParts = Pick<
  ApiModules,
  "me" | "manifest" | "node" | "storageWritable" | "clockAgrees" | "chainOk" | "coordination" | "clock"
> & {
  readonly store: Pick<NodeStore, "violations">;
  /** Milliseconds since the Unix epoch. */
  readonly certificateEnds: number;
  /** Peers that answered from a state that they were set back to. */
  readonly setBack: () => readonly NodeIndex[];
  /** Whether this node itself was set back. */
  readonly rolledBack: () => boolean;
  /** Chain sources that contradict the majority, by their place in the configuration. */
  readonly dissenting: () => readonly { readonly source: number; readonly since: UnixMs }[];
};

const DAY_MS = 24 * 60 * 60 * 1000;
/** How long what ended badly is shown. */
const RECENT_MS = 7 * DAY_MS;
const VIOLATION_MS = DAY_MS;
const CERTIFICATE_WARNING_MS = 30 * DAY_MS;
/** Newest violations that are looked at. */
const MAX_VIOLATIONS = 200;

/** Looks at every part of a node that can need an operator. */
export function alertSources(parts: AlertedParts): readonly AlertSource[] {
  const { me, node, store, clock } = parts;
  const own = (kind: AlertFact["kind"], is: boolean): readonly AlertFact[] =>
    is ? [fact(kind, String(me), null)] : [];

  return [
    () => own("rolled-back", parts.rolledBack()),
    () => own("storage", !parts.storageWritable()),
    () => own("clock", !parts.clockAgrees()),
    () => own("chain-unavailable", !parts.chainOk()),
    () =>
      parts.dissenting().map(({ source, since }) => fact("chain-sources-disagree", String(source), since)),
    () => {
      const { type, failingSince } = parts.coordination();
      return failingSince === null ? [] : [fact("coordination", String(me), failingSince, { type })];
    },
    () => own("certificate-ends", parts.certificateEnds - clock.now() <= CERTIFICATE_WARNING_MS),
    () => {
      const banned = bannedNodes(parts);
      const up = 1 + node.peers().filter((peer) => peer.up && !banned.has(peer.node)).length;
      return own("no-quorum", up < spendQuorum(parts.manifest));
    },
    () =>
      node.bans
        .bans()
        .map(({ node: banned, from, until, scope, violation }) =>
          fact("ban", String(banned), from, { until, scope, violation }),
        ),
    async () => {
      const banned = bannedNodes(parts);
      const rows = await store.violations({ limit: MAX_VIOLATIONS });
      return rows
        .filter(({ node: by, detectedAt }) => !banned.has(by) && detectedAt > clock.now() - VIOLATION_MS)
        .map(({ id, node: by, type, action, detectedAt }) =>
          fact("violation", id, detectedAt, { node: by, type, action }),
        );
    },
    () => {
      const { abstains, recollection } = node.sync.status();
      return recollection === null
        ? []
        : [
            fact("amnesia", String(me), recollection.restoredAt, {
              abstains,
              heard: recollection.heard.join(", "),
              needed: recollection.needed,
              forgottenUntil: recollection.forgottenUntil,
            }),
          ];
    },
    () => parts.setBack().map((peer) => fact("peer-set-back", String(peer), null)),
    () =>
      node
        .peers()
        .filter(({ up }) => !up)
        .map(({ node: peer, lastSeen, lastError }) =>
          fact("peer-down", String(peer), lastSeen, { lastError }),
        ),
    () => node.changes.list().flatMap((progress) => changeFacts(progress, parts)),
    () => node.keys.list().flatMap((progress) => keygenFacts(progress, parts)),
    async () =>
      (await node.presignatures.status())
        .filter(({ status: { wanted, usable } }) => wanted > 0 && usable === 0)
        .map(({ keyId, status: { ready, pending } }) => fact("stock-empty", keyId, null, { ready, pending })),
    () =>
      node.backups
        .unbacked()
        .map(({ keyId, epoch, missing, since }) =>
          fact("backup-missing", keyId, since, { epoch, nodes: missing.join(", ") }),
        ),
  ];
}

function changeFacts(progress: ChangeProgress, { me, node, clock }: AlertedParts): readonly AlertFact[] {
  const { row, standing, votes, needed } = progress;
  const said = { type: row.type, state: standing, ...wordsOf(votes.values()), needed };
  switch (standing) {
    case "open":
      return votes.has(me) ? [] : [fact("proposal-waits", row.proposal, row.firstSeenAt, said)];
    case "rejected":
    case "expired":
      return row.updatedAt > clock.now() - RECENT_MS
        ? [fact("proposal-failed", row.proposal, row.updatedAt, said)]
        : [];
    case "conflict": {
      const settled = node.changes
        .list()
        .some(({ row: later }) => later.state === "in-force" && (later.effectiveAt ?? 0) > row.updatedAt);
      return settled ? [] : [fact("proposal-conflict", row.proposal, row.updatedAt, said)];
    }
    case "unsupported":
      return [fact("proposal-unsupported", row.proposal, row.effectiveAt, said)];
    case "committed":
    case "in-force":
    case "overtaken":
      return [];
  }
}

function keygenFacts(progress: KeyProgress, { clock }: AlertedParts): readonly AlertFact[] {
  const { row, request, standing, approvals } = progress;
  const ended = standing === "rejected" || standing === "expired" || standing === "failed";
  if (!ended || row.updatedAt <= clock.now() - RECENT_MS) return [];
  const needed = request.body.total;
  const said = { type: "keygen", state: standing, ...wordsOf(approvals), needed, reason: row.reason };
  return [fact("proposal-failed", row.keyId, row.updatedAt, said)];
}

function bannedNodes({ node }: AlertedParts): ReadonlySet<NodeIndex> {
  return new Set(node.bans.bans().map(({ node: banned }) => banned));
}

function fact(
  kind: AlertFact["kind"],
  subject: string,
  since: UnixMs | null,
  data: AlertFact["data"] = {},
): AlertFact {
  return { kind, subject, since, data };
}
