import type { Clock, ClusterId, NodeIndex, NodeStore, SessionRow, Signer } from "@cairn/core";
import { encodeSessionMessage, signMessage } from "@cairn/signing";
import type { Loop } from "./loop.ts";

export interface InterruptedSessionsModules {
  readonly store: Pick<NodeStore, "sessions">;
  readonly loop: Loop;
  readonly signer: Signer;
  readonly clock: Clock;
}

const MAX_ROWS = 100_000;

/**
 * Sessions that a crash cut short: they are over here, since their executions are never rejoined. Each of their signers is told
 * so when it is first up, since a node that is back within moments looks to its peers as if it had never been away.
 */
export class InterruptedSessions {
  readonly #me: NodeIndex;
  readonly #cluster: ClusterId;
  readonly #modules: InterruptedSessionsModules;
  /** Sessions that each peer is still to be told of. */
  readonly #untold = new Map<NodeIndex, SessionRow[]>();

  constructor(
    options: { readonly me: NodeIndex; readonly manifest: { readonly cluster: ClusterId } },
    modules: InterruptedSessionsModules,
  ) {
    this.#me = options.me;
    this.#cluster = options.manifest.cluster;
    this.#modules = modules;
  }

  /** Records that they ended. */
  async end(): Promise<void> {
    const { store, loop, clock } = this.#modules;
    const live = await store.sessions({ live: true, limit: MAX_ROWS });
    if (live.length === 0) return;
    const endedAt = clock.now();
    await loop.run((batch) => {
      for (const row of live) {
        batch.write({ write: "session", row: { ...row, state: "failed", failure: "closed", endedAt } });
      }
    });
    for (const row of live) {
      for (const node of row.signers) this.#untold.set(node, [...(this.#untold.get(node) ?? []), row]);
    }
  }

  /** A peer is up. */
  async peerUp(node: NodeIndex): Promise<void> {
    const rows = this.#untold.get(node);
    if (rows === undefined) return;
    this.#untold.delete(node);
    await this.#modules.loop.run((batch) => {
      for (const { session } of rows) {
        const abort = signMessage(
          {
            kind: "abort",
            domain: "cairn/abort/v1",
            body: {
              version: 1,
              cluster: this.#cluster,
              session,
              node: this.#me,
              code: "closed",
              blamed: [],
            },
          },
          this.#modules.signer,
        );
        const payload = encodeSessionMessage(abort);
        batch.send([node], { kind: "abort", session, round: 0, payload, trace: null });
      }
    });
  }
}
