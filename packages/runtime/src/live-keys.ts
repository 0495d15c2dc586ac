import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  type KeyId,
  type KeyRow,
  keyStateKey,
  type NodeStore,
  type SignedKeygenApproval,
  type SignedKeygenRequest,
  signedKeygenRequestSchema,
} from "@cairn/core";
import { type KeyState, keyStateSchema, keyStatusOf } from "@cairn/signing";
import type { Batch } from "./loop.ts";

/** A key of this cluster, as this node knows it: in use, being made, or failed. */
export interface LiveKey {
  readonly row: KeyRow;
  readonly request: SignedKeygenRequest;
  readonly state: KeyState;
}

/**
 * Where a key's request stands as a proposal. `open`: not all nodes have approved; `committed`: all have, and the key is made; `failed`: it
 * could not be.
 */
export type KeygenStanding = "open" | "committed" | "in-force" | "rejected" | "expired" | "failed";

/** A key as people ask for it. */
export interface KeyProgress {
  readonly row: KeyRow;
  readonly request: SignedKeygenRequest;
  readonly standing: KeygenStanding;
  /** Phase of the key's life cycle, and the step of the session that runs. */
  readonly stage: string;
  readonly progress: number | null;
  /** Each node's word. A key needs that of all, since each of them holds a share. */
  readonly approvals: readonly SignedKeygenApproval[];
}

export interface KeyListeners {
  /** Something about a key has changed. */
  readonly changed: (key: KeyProgress) => void;
  /** Another node has said its word on a key's request, or the request stands otherwise. */
  readonly proposed: (key: KeyProgress) => void;
}

/** This node's keys. Every change of a row or of a machine's state is stored and told with it. */
export class LiveKeys {
  readonly #clock: Clock;
  readonly #listeners: KeyListeners;
  readonly #keys = new Map<KeyId, LiveKey>();
  /** How far the session is that runs for a key, 0..1. */
  readonly #sessions = new Map<KeyId, number>();

  constructor(modules: KeyListeners & { readonly clock: Clock }) {
    this.#clock = modules.clock;
    this.#listeners = modules;
  }

  async restore(store: Pick<NodeStore, "keys" | "meta">): Promise<void> {
    for (const row of await store.keys()) {
      const stored = await store.meta(keyStateKey(row.keyId));
      if (stored === null) {
        throw new CairnError(
          "storage-corrupt",
          "a key's state is missing; restore the database from a backup",
          { keyId: row.keyId },
        );
      }
      const request = decodeCanonical(signedKeygenRequestSchema, row.request);
      this.#keys.set(row.keyId, { row, request, state: decodeCanonical(keyStateSchema, stored) });
    }
  }

  get(keyId: KeyId): LiveKey | undefined {
    return this.#keys.get(keyId);
  }

  /** @throws CairnError `not-found` */
  of(keyId: KeyId): LiveKey {
    const live = this.#keys.get(keyId);
    if (live === undefined) throw new CairnError("not-found", "this cluster has no such key", { keyId });
    return live;
  }

  all(): readonly LiveKey[] {
    return [...this.#keys.values()];
  }

  list(): readonly KeyProgress[] {
    return this.all().map((live) => this.#progressOf(live));
  }

  /** @throws CairnError `not-found` */
  progress(keyId: KeyId): KeyProgress {
    return this.#progressOf(this.of(keyId));
  }

  /** @throws CairnError `not-found`, `wrong-state` */
  active(keyId: KeyId): KeyRow {
    const { row } = this.of(keyId);
    if (row.status === "active") return row;
    throw new CairnError("wrong-state", `the key is ${row.status}; \`cairn dkg status\` says more`, {
      keyId,
      status: row.status,
    });
  }

  /** @throws CairnError `not-found` */
  publicPackage(keyId: KeyId): Uint8Array {
    const { publicPackage } = this.of(keyId).row;
    if (publicPackage !== null) return publicPackage;
    throw new CairnError("not-found", "the key has no public package yet", { keyId });
  }

  /** Takes in a key that is new here. */
  add(batch: Batch, live: LiveKey): void {
    const { keyId } = live.row;
    this.#put(batch, live);
    batch.write({ write: "meta", key: keyStateKey(keyId), value: encodeCanonical(live.state) });
  }

  /** The key's machine went on. */
  step(batch: Batch, keyId: KeyId, state: KeyState): void {
    const live = this.of(keyId);
    if (state === live.state) return;
    const row = { ...live.row, status: keyStatusOf(state), updatedAt: this.#clock.now() };
    this.#put(batch, { ...live, row, state });
    batch.write({ write: "meta", key: keyStateKey(keyId), value: encodeCanonical(state) });
    if (state.phase !== live.state.phase) batch.audit("key-phase", keyId, { phase: state.phase });
  }

  /** Changes a key's row. */
  update(batch: Batch, keyId: KeyId, change: Partial<KeyRow>): void {
    const live = this.of(keyId);
    this.#put(batch, { ...live, row: { ...live.row, ...change, updatedAt: this.#clock.now() } });
  }

  /** How far the session is that runs for the key; null when none does. */
  progressed(keyId: KeyId, progress: number | null): void {
    if (progress === null) this.#sessions.delete(keyId);
    else {
      this.#sessions.set(keyId, progress);
      this.#tell(keyId);
    }
  }

  #put(batch: Batch, live: LiveKey): void {
    const before = this.#keys.get(live.row.keyId);
    batch.put(this.#keys, live.row.keyId, live);
    batch.write({ write: "key", row: live.row });
    batch.afterwards(() => this.#tell(live.row.keyId));
    const news =
      before === undefined ||
      standingOf(before.state) !== standingOf(live.state) ||
      approvalsOf(before.state) !== approvalsOf(live.state);
    if (news) batch.afterwards(() => this.#listeners.proposed(this.#progressOf(live)));
  }

  #tell(keyId: KeyId): void {
    const live = this.#keys.get(keyId);
    if (live !== undefined) this.#listeners.changed(this.#progressOf(live));
  }

  #progressOf({ row, request, state }: LiveKey): KeyProgress {
    return {
      row,
      request,
      standing: standingOf(state),
      stage: stageName(state),
      progress: this.#sessions.get(row.keyId) ?? null,
      approvals: approvalsOf(state),
    };
  }
}

function standingOf(state: KeyState): KeygenStanding {
  switch (state.phase) {
    case "approving":
      return "open";
    case "generating":
    case "confirming":
    case "testing":
    case "recording":
      return "committed";
    case "active":
    case "rotating":
    case "retired":
      return "in-force";
    case "failed":
      // Some may have had all approvals when an operator refused.
      if (state.approvals.some(({ body }) => body.reason === "operator-refused")) return "rejected";
      if (state.during !== "approving") return "failed";
      return state.code === "expired" ? "expired" : "rejected";
  }
}

function approvalsOf(state: KeyState): readonly SignedKeygenApproval[] {
  return "heard" in state ? state.heard.approvals : state.approvals;
}

function stageName(state: KeyState): string {
  return state.phase === "generating" ? state.step : state.phase;
}
