import type { ChainSource } from "@cairn/bitcoin";
import type { Authorisation } from "@cairn/consensus";
import type {
  Clock,
  Constitution,
  Courier,
  Manifest,
  NodeIndex,
  NodeStore,
  Random,
  Signer,
} from "@cairn/core";
import type { Policy } from "@cairn/policy";
import type { AttemptSettings, Driver, Engine, InventorySettings, SessionTimeouts } from "@cairn/signing";
import type { CoinAdvice } from "./coin-advice.ts";
import type { AuditSink } from "./loop.ts";

/** What a node goes by. */
export interface RuntimeOptions {
  readonly me: NodeIndex;
  /** The pinned genesis: what is in force follows from it and from the commits of the store. */
  readonly manifest: Manifest;
  /** The document whose hash the genesis pins. */
  readonly policy: Policy;
  /** Versions of the peer protocol that this software speaks, ascending. */
  readonly protocolVersions: readonly number[];
  /** Raised at every restore; kept outside the database. */
  readonly epoch: number;
  readonly clockSkewMs: number;
  readonly roundMs: number;
  readonly recheckMs: number;
  readonly pollMs: number;
  readonly grantWaitMs: number;
  readonly attempts: AttemptSettings;
  readonly timeouts: SessionTimeouts;
  /** Key generation takes minutes: its own, longer timeouts. */
  readonly keygenTimeouts: SessionTimeouts;
  readonly inventory: InventorySettings;
  readonly audit: AuditSettings;
}

/** How closely nodes watch each other's records. */
export interface AuditSettings {
  /** Time between two challenges to a peer that is up. */
  readonly fenceMs: number;
  /** Time between two co-signed checkpoints while logs grow. */
  readonly checkpointMs: number;
  /** New entries of a log after which one is due earlier. */
  readonly checkpointEntries: number;
  /** Least time between two anchors of checkpoints on the chain, where the manifest allows them. */
  readonly anchorMs: number;
}

/** The ports that a node runs over. */
export interface RuntimeModules {
  readonly store: NodeStore;
  readonly audit: AuditSink;
  readonly courier: Courier;
  readonly chain: ChainSource;
  readonly authorisation: Authorisation;
  readonly driver: Driver;
  readonly engine: Engine;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  /** Where receivers can tell each other which coins they pick; without it they learn from intents alone. */
  readonly coinAdvice?: CoinAdvice;
  /** Told what is in force: at the start, before any message, and whenever operators have changed it. */
  readonly inForce: (constitution: Constitution) => void;
  /** Failures that nobody waits for: for the log and metrics. */
  readonly report: (cause: unknown) => void;
}
