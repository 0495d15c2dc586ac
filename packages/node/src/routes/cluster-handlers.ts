import type { ClusterStatus } from "@cairn/client";
import {
  encodeCanonical,
  manifestFingerprint,
  operatorSignaturesOf,
  type SignedManifest,
  spendQuorum,
} from "@cairn/core";
import type { SyncStatus } from "@cairn/runtime";
import { alertWords } from "../alert-words.ts";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** How long an answer of `/health` about the store is believed: the endpoint is open to all. */
const STORAGE_PROBE_MS = 1_000;

/** Endpoints of the node and its cluster. */
export function clusterHandlers(
  modules: ApiModules,
): Pick<Handlers, "health" | "getClusterStatus" | "listNodes" | "listAlerts" | "getManifest" | "getHistory"> {
  const { me, node, store, clock } = modules;
  const startedAt = clock.monotonic();
  let probe: { readonly at: number; readonly ok: Promise<boolean> } | null = null;

  const storageOk = (): Promise<boolean> => {
    const at = clock.monotonic();
    if (probe === null || at - probe.at >= STORAGE_PROBE_MS) {
      probe = {
        at,
        ok: store.burnCounter().then(
          () => true,
          () => false,
        ),
      };
    }
    return probe.ok;
  };
  /** This node and its peers that are up and not banned. */
  const usable = (): number => {
    const banned = new Set(node.bans.bans().map((ban) => ban.node));
    return 1 + node.peers().filter((peer) => peer.up && !banned.has(peer.node)).length;
  };

  return {
    async health() {
      const { manifest } = modules;
      const stored = (await storageOk()) && modules.storageWritable();
      const up = usable();
      const clockAgrees = modules.clockAgrees();
      const { abstains } = node.sync.status();
      const chainOk = modules.chainOk() && node.chain.tipHeight !== null;
      return {
        status:
          stored && chainOk && clockAgrees && !abstains && up >= spendQuorum(manifest) ? "ok" : "degraded",
        node: me,
        cluster: manifest.cluster,
        version: modules.version,
        protocolVersions: [...modules.protocolVersions],
        uptimeSeconds: Math.floor((clock.monotonic() - startedAt) / 1000),
        peersUp: node.peers().filter((peer) => peer.up).length,
        peersTotal: manifest.members.length - 1,
        quorumReachable: up >= spendQuorum(manifest),
        storage: stored ? "ok" : "failing",
        clock: clockAgrees ? "ok" : "disagrees",
        chain: { ok: chainOk, tipHeight: node.chain.tipHeight },
        sync: abstains ? "abstains" : "ok",
      };
    },

    async getClusterStatus() {
      const { manifest, manifestHash } = modules;
      const quorum = spendQuorum(manifest);
      const [primes, burnCounter, head] = await Promise.all([
        modules.primes(),
        store.burnCounter(),
        store.auditHead(),
      ]);
      const keys = node.keys.list().map(({ row }) => row.status);
      const up = usable();
      const coordination = modules.coordination();
      return {
        cluster: manifest.cluster,
        network: manifest.network,
        node: me,
        threshold: manifest.threshold,
        total: manifest.members.length,
        quorum,
        up,
        canSign: up >= quorum && keys.includes("active"),
        manifest: {
          sequence: manifest.sequence,
          hash: manifestHash,
          fingerprint: manifestFingerprint(manifestHash),
        },
        policyVersion: manifest.policyVersion,
        authorisation: manifest.authorisation,
        tipHeight: node.chain.tipHeight,
        keys: {
          active: keys.filter((status) => status === "active").length,
          generating: keys.filter((status) => status === "generating").length,
          unbacked: node.backups.unbacked().length,
        },
        primes: { ...primes },
        coordination: {
          type: coordination.type,
          state:
            coordination.type === "none" ? "none" : coordination.failingSince === null ? "ok" : "unreachable",
          failingSince: timeTextOrNull(coordination.failingSince),
        },
        burnCounter,
        auditLength: head === null ? 0 : head.seq + 1,
        sync: syncView(node.sync.status()),
      };
    },

    async listNodes() {
      const peers = new Map(node.peers().map((peer) => [peer.node, peer]));
      const bans = new Map(node.bans.bans().map((ban) => [ban.node, ban]));
      return {
        nodes: modules.manifest.members.map((member) => {
          const self = member.index === me;
          const peer = peers.get(member.index);
          const ban = bans.get(member.index);
          return {
            index: member.index,
            name: member.name,
            self,
            up: self || (peer?.up ?? false),
            api: member.api,
            addresses: [...member.addresses],
            lastSeen: timeTextOrNull(self ? clock.now() : (peer?.lastSeen ?? null)),
            roundTripMs: peer?.roundTripMs ?? null,
            protocolVersion: self
              ? (modules.protocolVersions.at(-1) ?? null)
              : (peer?.protocolVersion ?? null),
            epoch: self ? modules.epoch : (peer?.epoch ?? null),
            banned: ban !== undefined,
            bannedUntil: timeTextOrNull(ban?.until ?? null),
            lastError: peer?.lastError ?? null,
          };
        }),
      };
    },

    async listAlerts() {
      const alerts = await modules.alerts.look();
      return {
        alerts: alerts.map(({ kind, subject, since, data }) => {
          const { what, advice } = alertWords[kind];
          return { kind, subject, since: timeText(since), what, advice, data };
        }),
      };
    },

    async getManifest() {
      const { genesis, manifest, manifestHash } = modules;
      const chain = node.manifests.chain();
      const last = chain.at(-1)?.commit ?? null;
      const before = chain.at(-2);
      const signed: SignedManifest =
        last === null || before === undefined
          ? genesis
          : { manifest, signatures: operatorSignaturesOf(last, before) };
      return { hash: manifestHash, sequence: manifest.sequence, signedManifest: base64(signed) };
    },

    async getHistory() {
      const [first] = node.manifests.chain();
      return {
        genesis: base64(modules.genesis),
        policy: base64(first.policy),
        commits: node.manifests.chain().flatMap(({ commit }) => (commit === null ? [] : [base64(commit)])),
      };
    },
  };
}

function base64(structure: unknown): string {
  return Buffer.from(encodeCanonical(structure)).toString("base64");
}

function syncView({ abstains, recollection, peers }: SyncStatus): ClusterStatus["sync"] {
  return {
    abstains,
    restoredAt: timeTextOrNull(recollection?.restoredAt ?? null),
    heard: [...(recollection?.heard ?? [])],
    needed: recollection?.needed ?? null,
    forgottenUntil: timeTextOrNull(recollection?.forgottenUntil ?? null),
    peers: peers.map(({ wholeAt, ...peer }) => ({ ...peer, wholeAt: timeTextOrNull(wholeAt) })),
  };
}
