import type { Broadcast, PartialSignature, SignedPartial } from "@cairn/consensus";
import { signedPartialSchema } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  encodeCanonical,
  type MessageKind,
  type Signer,
  signBody,
} from "@cairn/core";
import { type Abort, type SignedAbort, signedAbortSchema } from "./abort.ts";
import { type Ack, type SignedAck, signedAckSchema } from "./ack.ts";
import { type Finalize, type SignedFinalize, signedFinalizeSchema } from "./finalize.ts";
import { type Nack, type SignedNack, signedNackSchema } from "./nack.ts";
import { type Proposal, type SignedProposal, signedProposalSchema } from "./proposal.ts";
import { type BroadcastMessage, type DirectMessage, roundMessageSchema } from "./round-message.ts";
import { type SignedStart, type Start, signedStartSchema } from "./start.ts";

/** A message of a session as it arrives, its shape checked and nothing else. */
export type SessionMessage =
  | { readonly kind: "proposal"; readonly signed: SignedProposal }
  | { readonly kind: "ack"; readonly signed: SignedAck }
  | { readonly kind: "nack"; readonly signed: SignedNack }
  | { readonly kind: "start"; readonly signed: SignedStart }
  | { readonly kind: "abort"; readonly signed: SignedAbort }
  | { readonly kind: "partial"; readonly signed: SignedPartial }
  | { readonly kind: "finalize"; readonly signed: SignedFinalize }
  | { readonly kind: "round"; readonly content: BroadcastMessage | DirectMessage };

/** A message of a session before it is signed: machines hold no keys. `domain` null goes out unsigned inside its envelope. */
export type UnsignedMessage =
  | { readonly kind: "proposal"; readonly domain: "cairn/proposal/v1"; readonly body: Proposal }
  | { readonly kind: "ack"; readonly domain: "cairn/ack/v1"; readonly body: Ack }
  | { readonly kind: "nack"; readonly domain: "cairn/nack/v1"; readonly body: Nack }
  | { readonly kind: "start"; readonly domain: "cairn/start/v1"; readonly body: Start }
  | { readonly kind: "abort"; readonly domain: "cairn/abort/v1"; readonly body: Abort }
  | { readonly kind: "partial"; readonly domain: "cairn/partial/v1"; readonly body: PartialSignature }
  | { readonly kind: "finalize"; readonly domain: "cairn/finalize/v1"; readonly body: Finalize }
  | {
      readonly kind: "round";
      readonly domain: "cairn/broadcast/v1";
      readonly body: Broadcast;
      /** Goes beside the signed body, which holds its hash. */
      readonly payload: Uint8Array;
    }
  | { readonly kind: "round"; readonly domain: null; readonly body: DirectMessage };

/** Kinds of peer messages that belong to sessions. */
export const sessionMessageKinds: ReadonlySet<MessageKind> = new Set<MessageKind>([
  "proposal",
  "ack",
  "nack",
  "start",
  "abort",
  "round",
  "partial",
  "finalize",
]);

/** Signs `message`. The result goes to peers as {@link encodeSessionMessage}, and to the own machine as an event. */
export function signMessage(message: UnsignedMessage, signer: Signer): SessionMessage {
  switch (message.kind) {
    case "proposal":
      return { kind: "proposal", signed: signBody(message.domain, message.body, signer) };
    case "ack":
      return { kind: "ack", signed: signBody(message.domain, message.body, signer) };
    case "nack":
      return { kind: "nack", signed: signBody(message.domain, message.body, signer) };
    case "start":
      return { kind: "start", signed: signBody(message.domain, message.body, signer) };
    case "abort":
      return { kind: "abort", signed: signBody(message.domain, message.body, signer) };
    case "partial":
      return { kind: "partial", signed: signBody(message.domain, message.body, signer) };
    case "finalize":
      return { kind: "finalize", signed: signBody(message.domain, message.body, signer) };
    case "round": {
      if (message.domain === null) return { kind: "round", content: message.body };
      const signed = signBody(message.domain, message.body, signer);
      return { kind: "round", content: { type: "broadcast", signed, payload: message.payload } };
    }
  }
}

/** Canonical bytes: the payload of a peer message of this kind. */
export function encodeSessionMessage(message: SessionMessage): Uint8Array {
  return encodeCanonical(message.kind === "round" ? message.content : message.signed);
}

/**
 * Reads the payload of a peer message of `kind`.
 * @throws CairnError `malformed`, `not-canonical`, `too-large`
 */
export function decodeSessionMessage(kind: MessageKind, payload: Uint8Array): SessionMessage {
  switch (kind) {
    case "proposal":
      return { kind, signed: decodeCanonical(signedProposalSchema, payload) };
    case "ack":
      return { kind, signed: decodeCanonical(signedAckSchema, payload) };
    case "nack":
      return { kind, signed: decodeCanonical(signedNackSchema, payload) };
    case "start":
      return { kind, signed: decodeCanonical(signedStartSchema, payload) };
    case "abort":
      return { kind, signed: decodeCanonical(signedAbortSchema, payload) };
    case "partial":
      return { kind, signed: decodeCanonical(signedPartialSchema, payload) };
    case "finalize":
      return { kind, signed: decodeCanonical(signedFinalizeSchema, payload) };
    case "round":
      return { kind, content: decodeCanonical(roundMessageSchema, payload) };
    default:
      throw new CairnError("malformed", "the message is not of a kind that sessions exchange", { kind });
  }
}
