import type { Clock, NodeIndex, PeerStatus, Timer } from "@cairn/core";

/**
 * How long a dropped peer has to come back before what it takes part in is given up. One connection that takes over from
 * another may look like a drop for a moment.
 */
const GRACE_MS = 5_000;

export interface DeparturesModules {
  readonly clock: Clock;
  /** Nodes that are up, this one among them. */
  readonly up: () => ReadonlySet<NodeIndex>;
  /** The peer's connection dropped and stayed away. */
  readonly departed: (node: NodeIndex) => void;
}

/** Tells a peer that is gone from one whose connection flickers. Each absence is told once. */
export class Departures {
  readonly #modules: DeparturesModules;
  /** Peers that are away: with a timer while they may still come back in time. */
  readonly #away = new Map<NodeIndex, Timer>();
  #closed = false;

  constructor(modules: DeparturesModules) {
    this.#modules = modules;
  }

  /** The transport says that a peer came up or went down. */
  peer({ node, up }: PeerStatus): void {
    if (up) {
      this.#away.get(node)?.cancel();
      this.#away.delete(node);
    } else if (!this.#away.has(node) && !this.#closed) {
      this.#away.set(
        node,
        this.#modules.clock.after(GRACE_MS, () => {
          if (!this.#modules.up().has(node)) this.#modules.departed(node);
        }),
      );
    }
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#away.values()) timer.cancel();
  }
}
