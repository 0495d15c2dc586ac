import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import { MemberAddresses } from "../src/member-addresses.ts";

const one = 1 as NodeIndex;
const two = 2 as NodeIndex;
const nobody: ReadonlySet<NodeIndex> = new Set();

function follow(addresses: MemberAddresses, first: readonly string[], ...others: readonly string[][]): void {
  addresses.follow(
    [first, ...others].map((own, at) => ({ index: (at + 1) as NodeIndex, addresses: [...own] })),
  );
}

test("members may be at the manifest's addresses, where its names led, and where they were last", () => {
  const addresses = new MemberAddresses();
  follow(addresses, [
    "tcp://10.0.0.1:9000",
    "tcp://[2001:db8::1]:9000",
    "tcp://node.example:9000",
    "no address",
  ]);
  addresses.resolved(one, "10.0.0.2");
  addresses.met(one, "10.0.0.3");
  for (const known of ["10.0.0.1", "2001:db8::1", "10.0.0.2", "10.0.0.3"]) {
    assert.ok(addresses.has(known, nobody), known);
  }
  for (const unknown of ["10.0.0.4", "2001:db8::2", "node.example", ""]) {
    assert.equal(addresses.has(unknown, nobody), false, unknown);
  }
});

test("an address is the same in every spelling", () => {
  const addresses = new MemberAddresses();
  follow(addresses, ["tcp://10.0.0.1:9000", "tcp://[2001:DB8:0:0::1]:9000", "tcp://[::ffff:10.0.0.5]:9000"]);
  addresses.met(one, "fe80::7%eth0");
  addresses.met(one, "::ffff:10.0.0.3");
  for (const known of ["::ffff:10.0.0.1", "::ffff:a00:1", "2001:db8::1", "10.0.0.5", "fe80::7", "10.0.0.3"]) {
    assert.ok(addresses.has(known, nobody), known);
  }
});

test("few addresses are kept of each member, the newest, and no member takes another's place", () => {
  const addresses = new MemberAddresses();
  follow(addresses, ["tcp://10.0.0.1:9000"], []);
  addresses.met(two, "10.0.2.1");
  addresses.met(one, "10.0.0.2");
  for (let n = 0; n < 100; n++) {
    addresses.resolved(one, `10.1.0.${n}`);
    addresses.met(one, `10.2.0.${n}`);
  }
  const kept = Array.from({ length: 100 }, (_, n) => [`10.1.0.${n}`, `10.2.0.${n}`]).flat();
  assert.equal(kept.filter((address) => addresses.has(address, nobody)).length, 12);
  for (const known of ["10.0.0.1", "10.0.2.1", "10.1.0.99", "10.2.0.99"]) {
    assert.ok(addresses.has(known, nobody), known);
  }
  assert.equal(addresses.has("10.0.0.2", nobody), false);
});

test("who is no member any more, or is refused, is a stranger", () => {
  const addresses = new MemberAddresses();
  follow(addresses, ["tcp://10.0.0.1:9000"], ["tcp://10.0.0.2:9000"]);
  addresses.met(two, "10.0.0.3");
  assert.equal(addresses.has("10.0.0.3", new Set([two])), false);
  assert.ok(addresses.has("10.0.0.3", new Set([one])));
  follow(addresses, ["tcp://10.0.0.9:9000"]);
  for (const gone of ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert.equal(addresses.has(gone, nobody), false, gone);
  addresses.met(two, "10.0.0.3");
  assert.equal(addresses.has("10.0.0.3", nobody), false);
  assert.ok(addresses.has("10.0.0.9", nobody));
});
