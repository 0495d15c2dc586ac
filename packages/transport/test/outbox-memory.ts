import { CairnError, type NodeIndex, type OutboxRow, type StoreWrite } from "@cairn/core";
import type { OutboxStore } from "../src/outbox-sender.ts";
import type { ReplayStore } from "../src/replay-guard.ts";

/** What a courier needs of a store, in memory: it outlives the couriers that use it, as a disk does. */
export class OutboxMemory implements OutboxStore, ReplayStore {
  readonly rows: OutboxRow[] = [];
  readonly metas = new Map<string, Uint8Array>();
  commits = 0;
  /** How often the outbox was read. */
  reads = 0;
  broken = false;
  /** Real time that a commit takes. */
  commitMs = 0;
  #seq = 0;

  async commit(writes: readonly StoreWrite[]): Promise<void> {
    if (this.broken) throw new CairnError("storage-failed", "the disk is gone");
    this.commits++;
    if (this.commitMs > 0) await new Promise((resolve) => setTimeout(resolve, this.commitMs));
    for (const write of writes) {
      if (write.write === "meta") this.metas.set(write.key, write.value);
      else if (write.write === "outbox-done") {
        const at = this.rows.findIndex((row) => row.to === write.to && row.id === write.id);
        if (at >= 0) this.rows.splice(at, 1);
      } else if (write.write === "outbox") {
        const { row } = write;
        if (this.rows.some((other) => other.to === row.to && other.id === row.id)) continue;
        this.rows.push({ ...row, seq: this.#seq++ });
      }
    }
  }

  async meta(key: string): Promise<Uint8Array | null> {
    return this.metas.get(key) ?? null;
  }

  async outbox(query: { readonly to?: NodeIndex; readonly limit: number; readonly after?: number }) {
    this.reads++;
    if (this.broken) throw new CairnError("storage-failed", "the disk is gone");
    return this.rows
      .filter((row) => (query.to === undefined || row.to === query.to) && row.seq > (query.after ?? -1))
      .slice(0, query.limit);
  }
}
