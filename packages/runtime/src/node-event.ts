import type { UnixMs } from "@cairn/core";

/** Something that people and programs may want to hear of as it happens. Never secrets. */
export interface NodeEvent {
  /** Rises with every event of this process. */
  readonly id: number;
  readonly at: UnixMs;
  readonly type:
    | "transaction"
    | "key"
    | "session"
    | "peer"
    | "violation"
    | "ban"
    | "change"
    | "fence"
    | "sync"
    | "checkpoint"
    | "presignatures"
    | "primes"
    | "alert";
  readonly subject: string;
  readonly state: string;
  readonly data: { readonly [key: string]: string | number | boolean | null };
}
