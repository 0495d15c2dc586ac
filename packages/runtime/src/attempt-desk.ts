import type { Clock, NodeIndex, Signer } from "@cairn/core";
import type { AttemptLedger, AttemptSettings, Driver, SessionTimeouts, SignerStanding } from "@cairn/signing";
import type { Cell, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import type { SessionDesk } from "./session-desk.ts";

/** What every desk goes by that has sessions of its purpose opened and judges those that peers propose. */
export interface AttemptDeskOptions {
  readonly me: NodeIndex;
  readonly book: InForce;
  readonly protocolVersions: readonly number[];
  readonly attempts: AttemptSettings;
  readonly timeouts: SessionTimeouts;
}

/** What every such desk needs. */
export interface AttemptDeskModules {
  readonly loop: Loop;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly sessions: SessionDesk;
  readonly driver: Driver;
  /** Attempts of every purpose at this node. */
  readonly ledger: Cell<AttemptLedger>;
  /** How sessions of every purpose went with each member; forgotten at a restart. */
  readonly standing: Cell<SignerStanding>;
  /** Nodes that are up, this one among them. */
  readonly up: () => ReadonlySet<NodeIndex>;
  readonly report: (cause: unknown) => void;
}
