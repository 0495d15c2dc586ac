import type { Grant } from "@cairn/consensus";
import { type NodeStore, sha256Hex } from "@cairn/core";
import type { PresignatureFacts, Proposal } from "@cairn/signing";
import type { SessionDesk } from "./session-desk.ts";

/** Presignatures that the store holds and no session of this node means to use. */
export class PresignatureStock {
  readonly #store: Pick<NodeStore, "presignatures" | "presignature">;
  readonly #sessions: Pick<SessionDesk, "holds">;

  constructor(modules: {
    readonly store: Pick<NodeStore, "presignatures" | "presignature">;
    readonly sessions: Pick<SessionDesk, "holds">;
  }) {
    this.#store = modules.store;
    this.#sessions = modules.sessions;
  }

  /** Ready ones for the paths of a grant, those first that this grant is to use first. */
  async readyFor(grant: Grant): Promise<readonly PresignatureFacts[]> {
    const paths = new Map(grant.inputs.map(({ path }) => [path.join("/"), path]));
    const rows = await Promise.all(
      [...paths.values()].map((path) =>
        this.#store.presignatures({ keyId: grant.keyId, path, state: "ready" }),
      ),
    );
    // Spends that are signed side by side begin at different items, so that their initiators seldom name the same.
    return rows
      .flat()
      .filter(({ id }) => !this.#sessions.holds(id))
      .map((row) => ({ row, rank: sha256Hex(Buffer.from(`${grant.grantId}/${row.id}`, "utf8")) }))
      .sort((a, b) => (a.rank < b.rank ? -1 : 1))
      .map(({ row }) => row);
  }

  /** Those that a proposal names and this node has. */
  async namedBy(proposal: Proposal): Promise<readonly PresignatureFacts[]> {
    const rows = await Promise.all((proposal.items ?? []).map((id) => this.#store.presignature(id)));
    return rows.filter((row) => row !== null);
  }

  /** What the store said of presignatures, now that other sessions may have taken them up. */
  current(stock: readonly PresignatureFacts[]): readonly PresignatureFacts[] {
    return stock.map((facts) => (this.#sessions.holds(facts.id) ? { ...facts, state: "burned" } : facts));
  }
}
