import type {
  NodeIndex,
  PeerMessage,
  PresignatureId,
  SessionId,
  StoreWrite,
  TransactionRow,
} from "@cairn/core";
import type { EngineSignature, EngineSpec, IssuePartial } from "@cairn/signing";

/** What is seen of a node from outside, at its ports, in the order in which it happens. */
export type Observation =
  /** On its disk, whether the node learned so or not. */
  | { readonly kind: "committed"; readonly node: NodeIndex; readonly writes: readonly StoreWrite[] }
  | {
      readonly kind: "burned";
      readonly node: NodeIndex;
      readonly presignature: PresignatureId;
      readonly session: SessionId;
    }
  /** Handed to the courier for a peer, at most once. */
  | { readonly kind: "sent"; readonly node: NodeIndex; readonly to: NodeIndex; readonly message: PeerMessage }
  | { readonly kind: "engine-started"; readonly node: NodeIndex; readonly spec: EngineSpec }
  | {
      readonly kind: "partial-issued";
      readonly node: NodeIndex;
      readonly input: IssuePartial;
      readonly partial: Uint8Array;
    }
  /** A session of full signing ended with signatures. */
  | {
      readonly kind: "signatures";
      readonly node: NodeIndex;
      readonly spec: EngineSpec;
      readonly signatures: readonly EngineSignature[];
    }
  /** Offered to the chain, whether it took it or not. */
  | { readonly kind: "broadcast"; readonly node: NodeIndex; readonly raw: Uint8Array }
  /** A client was told that its request is taken. */
  | { readonly kind: "acknowledged"; readonly node: NodeIndex; readonly row: TransactionRow }
  | { readonly kind: "started"; readonly node: NodeIndex }
  | { readonly kind: "stopped"; readonly node: NodeIndex; readonly how: "crash" | "stop" }
  /** Its database is gone, but for a backup of the beginning. */
  | { readonly kind: "lost"; readonly node: NodeIndex }
  /** Something failed that the node could only report. */
  | { readonly kind: "reported"; readonly node: NodeIndex; readonly cause: unknown };

export type Observer = (seen: Observation) => void;
