import type { ChainSource } from "@cairn/bitcoin";
import type { Role } from "@cairn/client";
import type {
  Clock,
  Manifest,
  ManifestHash,
  NodeConfig,
  NodeIndex,
  NodeStore,
  Random,
  SignedManifest,
  UnixMs,
} from "@cairn/core";
import type { AlertDesk } from "./alert-desk.ts";
import type { MadeBackup } from "./backup/backup-maker.ts";
import type { EventHub } from "./event-hub.ts";
import type { NodeFacade } from "./node-facade.ts";
import type { SpendFactsCache } from "./spend-facts-cache.ts";

/** What handlers know and use. */
export interface ApiModules {
  readonly me: NodeIndex;
  /** In force now: read it at each use, since operators may change it. */
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly genesis: SignedManifest;
  readonly protocolVersions: readonly number[];
  readonly version: string;
  /** This node's own, raised at every restore. */
  readonly epoch: number;
  readonly presignatures: NodeConfig["presignatures"];
  readonly node: NodeFacade;
  readonly events: Pick<EventHub, "subscribe">;
  readonly alerts: Pick<AlertDesk, "look">;
  /** What nodes of the cluster tell each other through, and since when it can't be reached. */
  readonly coordination: () => {
    readonly type: NodeConfig["coordination"]["type"];
    readonly failingSince: UnixMs | null;
  };
  /** History is read from here; the API writes nothing but idempotency rows and tokens. */
  readonly store: NodeStore;
  readonly makeBackup: () => Promise<MadeBackup>;
  /** Whether the last write found room on the disk. */
  readonly storageWritable: () => boolean;
  readonly spendFacts: SpendFactsCache;
  readonly primes: () => Promise<{
    readonly ready: number;
    readonly target: number;
    readonly generating: boolean;
  }>;
  /** Whether peers' messages came at times that this node's clock can believe. */
  readonly clockAgrees: () => boolean;
  /** Whether any chain source answered lately. */
  readonly chainOk: () => boolean;
  readonly chain: Pick<ChainSource, "inclusion">;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Least role for `/metrics` and the event stream, also for callers on this machine: behind a reverse proxy everybody seems to be.
 * Prometheus sends the token by `authorization: { credentials_file }`.
 */
export const OBSERVER_ROLE: Role = "viewer";
