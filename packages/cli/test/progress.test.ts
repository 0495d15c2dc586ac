import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress } from "../src/progress.ts";

function drawn(isTTY: boolean, silent: boolean): string {
  const written: string[] = [];
  const progress = new Progress({ silent }, { stderr: { isTTY, write: (text) => void written.push(text) } });
  progress.show("voting", 0.5);
  progress.show("voting", 0.5);
  progress.show("signing\u001b[2J", null);
  progress.end();
  return written.join("");
}

test("on a terminal one line is drawn over, elsewhere each change is a line, and programs see nothing", () => {
  const half = `[${"#".repeat(12)}${"-".repeat(12)}] 50% voting`;
  assert.equal(drawn(true, false), `\r\u001b[2K${half}\r\u001b[2Ksigning\ufffd[2J\r\u001b[2K`);
  assert.equal(drawn(false, false), `${half}\nsigning\ufffd[2J\n`);
  assert.equal(drawn(true, true), "");
});
