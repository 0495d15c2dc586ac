import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import type { SessionEffect, SessionEvent } from "../src/index.ts";
import type { SessionBench } from "./bench/session-bench.ts";
import {
  benchWithKey,
  fourSigners,
  fullWork,
  presignedWork,
  signProposal,
  stockUp,
} from "./bench/stocked-bench.ts";

/**
 * What one node sees and does in whole sessions, as text. After a change that is meant, write them anew:
 * `node packages/signing/test/session-transcript.test.ts --update`
 */
const update = process.argv.includes("--update");

function compare(name: string, transcript: string): void {
  const path = join(import.meta.dirname, "golden", `${name}.txt`);
  if (update) writeFileSync(path, transcript);
  assert.equal(transcript, readFileSync(path, "utf8"));
}

function record(bench: SessionBench, watched: number): () => string {
  const lines: string[] = [];
  bench.trace = (node: NodeIndex, line) => {
    if (node === watched) lines.push("event" in line ? `<- ${eventText(line)}` : `   -> ${effectText(line)}`);
  };
  return () => `${lines.join("\n")}\n`;
}

const short = (id: string) => id.slice(0, 8);

function eventText(event: SessionEvent): string {
  switch (event.event) {
    case "message":
      return `message ${event.message.kind} of ${event.from}`;
    case "engine-send":
      return `engine-send round ${event.round} to ${event.to ?? "all"}`;
    case "engine-progress":
      return `engine-progress ${event.round}/${event.rounds} ${event.step}`;
    case "burned":
      return `burned ${short(event.receipt.presignatureId)} as ${event.receipt.burnCounter}`;
    case "partial-issued":
      return `partial-issued ${short(event.presignatureId)}`;
    case "combined":
      return `combined input ${event.input} ${short(Buffer.from(event.signature).toString("hex"))}`;
    default:
      return event.event;
  }
}

function effectText(effect: SessionEffect): string {
  switch (effect.effect) {
    case "send":
      return `send ${effect.message.kind} to ${effect.to.join(" ")}${effect.sealTo === null ? "" : " sealed"}`;
    case "arm":
      return `arm at ${effect.at}`;
    case "record-execution":
      return `record-execution ${short(effect.execution)}`;
    case "engine-start":
      return `engine-start ${effect.spec.kind} ${short(effect.spec.executionId)}`;
    case "engine-receive":
      return `engine-receive of ${effect.from}`;
    case "burn":
    case "issue-partial":
      return `${effect.effect} ${short(effect.presignatureId)}`;
    case "combine":
      return `combine input ${effect.input} of ${effect.partials.map(({ from }) => from).join(" ")}`;
    case "ended":
      return `ended ${effect.code}, excluded ${effect.excluded.join(" ") || "nobody"}`;
    case "violation":
      return `violation ${effect.violation} of ${effect.node}`;
    case "refused":
      return `refused ${effect.kind} of ${effect.from}: ${effect.code}`;
    default:
      return effect.effect;
  }
}

test("the initiator of a presigned session", async () => {
  const bench = await benchWithKey("cggmp24");
  const items = await stockUp(bench, fourSigners, [[0, 0]]);
  const transcript = record(bench, 1);
  bench.begin(signProposal({ signers: fourSigners, items }), (node) => presignedWork(node, items));
  await bench.run();
  compare("presigned-initiator", transcript());
});

test("a signer of a full session", async () => {
  const bench = await benchWithKey("frost");
  const transcript = record(bench, 3);
  bench.begin(signProposal({ signers: fourSigners }), (node) => fullWork(node, "frost", fourSigners));
  await bench.run();
  compare("full-signer", transcript());
});

test("an initiator whom one signer never answers", async () => {
  const bench = await benchWithKey("frost");
  bench.down.add(4 as NodeIndex);
  const transcript = record(bench, 1);
  bench.begin(signProposal({ signers: fourSigners }), (node) => fullWork(node, "frost", fourSigners));
  await bench.run();
  compare("silent-signer", transcript());
});
