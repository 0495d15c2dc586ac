import { isPaid } from "@cairn/consensus";
import type { LineageId, ReservationRow, StoreWrite } from "@cairn/core";
import type { SpendClaimsModules } from "../src/spend-claims.ts";

/** The reservations of a node's store: what is committed is kept, what is asked is counted. */
export class KeptReservations {
  readonly rows = new Map<LineageId, ReservationRow>();
  asked = 0;

  async commit(writes: readonly StoreWrite[]): Promise<void> {
    for (const write of writes)
      if (write.write === "reservation") this.rows.set(write.row.lineage, write.row);
  }

  reservation: SpendClaimsModules["store"]["reservation"] = async (lineage) => {
    this.asked += 1;
    return this.rows.get(lineage) ?? null;
  };

  openReservations: SpendClaimsModules["store"]["openReservations"] = async () =>
    [...this.rows.values()].filter((row) => row.freedAt === null);

  endedReservations: SpendClaimsModules["store"]["endedReservations"] = async ({ since, after, limit }) => {
    const place = ({ reservedAt, lineage }: Pick<ReservationRow, "reservedAt" | "lineage">) =>
      `${String(reservedAt).padStart(20, "0")} ${lineage}`;
    return [...this.rows.values()]
      .filter((row) => row.freedAt !== null && row.reservedAt > since)
      .filter((row) => after === undefined || place(row) > place(after))
      .toSorted((a, b) => (place(a) < place(b) ? -1 : 1))
      .slice(0, limit);
  };

  get paid(): number {
    return [...this.rows.values()].filter(isPaid).length;
  }
}
