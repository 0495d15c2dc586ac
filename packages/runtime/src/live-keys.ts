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

/** A key as people ask for it. */
export interface KeyProgress {
  readonly row: KeyRow;
  /** Phase of the key's life cycle, and the step of the session that runs. */
  readonly stage: string;
  readonly progress: number | null;
  readonly approvals: readonly SignedKeygenApproval[];
}

/** A key changed: its row, the stage it is in, and how far that is (0..1) or null. */
export type KeyChanged = (row: KeyRow, stage: string, progress: number | null) => void;

/** This node's keys. Every change of a row or of a machine's state is stored and told with it. */
export class LiveKeys {
  readonly #clock: Clock;
  readonly #changed: KeyChanged;
  readonly #keys = new Map<KeyId, LiveKey>();
  /** How far the session is that runs for a key, 0..1. */
  readonly #progress = new Map<KeyId, number>();

  constructor(modules: { readonly clock: Clock; readonly changed: KeyChanged }) {
    this.#clock = modules.clock;
    this.#changed = modules.changed;
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
    return this.all().map(({ row, state }) => ({
      row,
      stage: stageName(state),
      progress: this.#progress.get(row.keyId) ?? null,
      approvals: "heard" in state ? state.heard.approvals : [],
    }));
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
    if (progress === null) this.#progress.delete(keyId);
    else {
      this.#progress.set(keyId, progress);
      this.#tell(keyId);
    }
  }

  #put(batch: Batch, live: LiveKey): void {
    batch.put(this.#keys, live.row.keyId, live);
    batch.write({ write: "key", row: live.row });
    batch.afterwards(() => this.#tell(live.row.keyId));
  }

  #tell(keyId: KeyId): void {
    const live = this.#keys.get(keyId);
    if (live !== undefined) this.#changed(live.row, stageName(live.state), this.#progress.get(keyId) ?? null);
  }
}

function stageName(state: KeyState): string {
  return state.phase === "generating" ? state.step : state.phase;
}
