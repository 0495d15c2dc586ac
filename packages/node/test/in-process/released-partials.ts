import assert from "node:assert/strict";
import { type Courier, type KeyId, type NodeIndex, type PeerMessage, sha256Hex } from "@cairn/core";
import { overheard } from "@cairn/runtime/test-support";
import { decodeSessionMessage } from "@cairn/signing";
import type { InProcessNode } from "./cluster.ts";

/** Partials that left nodes: what a presignature that serves twice would show in. */
export class ReleasedPartials {
  readonly #made = new Map<string, Set<string>>();

  /** Presignatures of which at least one partial left, by node. */
  get count(): number {
    return this.#made.size;
  }

  note(node: NodeIndex, message: PeerMessage): void {
    if (message.kind !== "partial") return;
    const decoded = decodeSessionMessage("partial", message.payload);
    if (decoded.kind !== "partial") return;
    const key = `${node}/${decoded.signed.body.presignature}`;
    const made = this.#made.get(key) ?? new Set<string>();
    this.#made.set(key, made.add(sha256Hex(decoded.signed.body.partial)));
  }

  /** A courier whose messages are noted as they leave. */
  over(node: NodeIndex, courier: Courier, also: (message: PeerMessage) => void = () => {}): Courier {
    return overheard(courier, (message) => {
      this.note(node, message);
      also(message);
    });
  }

  /** No node ever made two different partials of one presignature, nor burned one twice. */
  async assertUsedOnce(nodes: Iterable<InProcessNode>, keyId: KeyId): Promise<void> {
    for (const [item, made] of this.#made) assert.equal(made.size, 1, `${item} served two signatures`);
    for (const { index, store } of nodes) {
      const rows = await store.presignatures({ keyId });
      const burned = rows.filter((row) => row.state === "burned");
      assert.equal(burned.length, await store.burnCounter(), `burns of node ${index}`);
      assert.equal(new Set(burned.map((row) => row.burnCounter)).size, burned.length);
    }
  }
}
