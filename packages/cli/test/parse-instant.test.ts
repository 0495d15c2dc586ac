import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import { parseInstant } from "../src/parse-instant.ts";

const now = Date.parse("2026-03-01T12:00:00.000Z");

test("points in time are typed as an age, a day or an ISO time", () => {
  assert.equal(parseInstant("2h", now), "2026-03-01T10:00:00.000Z");
  assert.equal(parseInstant(" 7d ", now), "2026-02-22T12:00:00.000Z");
  assert.equal(parseInstant("2026-01-31", now), "2026-01-31T00:00:00.000Z");
  assert.equal(parseInstant("2026-01-31T08:00+02:00", now), "2026-01-31T06:00:00.000Z");
});

test("what is no point in time is refused", () => {
  for (const text of [
    "",
    "yesterday",
    "-2h",
    "0d",
    "2026-02-31",
    "2026-13-01",
    "2026-01-31T08:00",
    "1767225600",
  ]) {
    assert.throws(
      () => parseInstant(text, now),
      (error) => isCairnError(error, "malformed"),
      text,
    );
  }
});
