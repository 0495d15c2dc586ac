import { createHash } from "node:crypto";
import { parseTransaction } from "@cairn/bitcoin";
import { isCairnError, type StoreWrite } from "@cairn/core";
import type { Observation } from "./observation.ts";
import type { Operation } from "./scenario.ts";

/** What happened in a run, line by line: nothing in it but what follows from the seed, so signatures and keys of the moment are left out. */
export class Trace {
  readonly lines: string[] = [];

  /** SHA-256 of all lines. */
  digest(): string {
    return createHash("sha256").update(this.lines.join("\n"), "utf8").digest("hex");
  }

  note(text: string, at: number): void {
    this.lines.push(`${at} ${text}`);
  }

  operation(operation: Operation, at: number): void {
    const { at: _, ...what } = operation;
    this.note(`do ${JSON.stringify(what)}`, at);
  }

  see(seen: Observation, at: number): void {
    const words = describe(seen);
    if (words !== null) this.note(`node ${seen.node} ${words}`, at);
  }
}

function describe(seen: Observation): string | null {
  switch (seen.kind) {
    case "committed":
      return `commits ${seen.writes.map(describeWrite).join(" ")}`;
    case "burned":
      return `burns ${short(seen.presignature)}`;
    case "sent":
      return `sends ${seen.message.kind} ${seen.message.round} to ${seen.to}`;
    case "engine-started":
      return `engine ${seen.spec.kind} ${short(seen.spec.executionId)}`;
    case "partial-issued":
      return `issues a partial from ${short(seen.input.receipt.presignatureId)}`;
    case "signatures":
      return `signed in ${short(seen.spec.executionId)}`;
    case "broadcast":
      return `broadcasts ${short(parseTransaction(seen.raw).txid)}`;
    case "acknowledged":
      return `acknowledges ${short(seen.row.intent)}`;
    case "started":
      return "is up";
    case "stopped":
      return `is down: ${seen.how}`;
    case "lost":
      return "lost its database";
    case "reported":
      return `reports ${isCairnError(seen.cause) ? seen.cause.code : String(seen.cause)}`;
  }
}

function describeWrite(write: StoreWrite): string {
  switch (write.write) {
    case "transaction":
      return `${short(write.row.intent)}=${write.row.state}/${write.row.reason}/${write.row.confirmations}`;
    case "vote":
      return `vote:${short(write.row.intent)}/${write.row.round}/${write.row.voter}/${write.row.approve}`;
    case "audit":
      return `audit:${write.row.kind}`;
    case "session":
      return `session:${short(write.row.session)}=${write.row.state}/${write.row.failure}`;
    case "void":
      return `void:${short(write.row.intent)}/${write.row.node}`;
    case "violation":
      return `violation:${write.row.node}/${write.row.type}`;
    case "ban":
      return `ban:${write.row.node}/${write.row.scope}`;
    case "outbox":
      return `out:${write.row.to}/${write.row.kind}`;
    case "outbox-done":
      return `done:${write.to}`;
    default:
      return write.write;
  }
}

function short(hash: string): string {
  return hash.slice(0, 8);
}
