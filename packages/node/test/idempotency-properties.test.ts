import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Sats, satsSchema } from "@cairn/core";
import { MemoryDisk } from "@cairn/storage";
import fc from "fast-check";
import { testCluster } from "./node-folder.ts";
import { type Answer, RestFixture } from "./rest-fixture.ts";

const cluster = testCluster();
const roles = ["spender", "operator", "admin"] as const;
const keys = ["order-1", "order-2"] as const;
const BODIES = 3;

/** One caller's use of one key. */
interface Slot {
  readonly role: (typeof roles)[number];
  readonly key: (typeof keys)[number];
}

type Step =
  | { readonly step: "call"; readonly slot: Slot; readonly bodies: readonly number[] }
  | { readonly step: "fail"; readonly slot: Slot; readonly body: number }
  | { readonly step: "restart" };

const slot = fc.record({ role: fc.constantFrom(...roles), key: fc.constantFrom(...keys) });
const body = fc.nat(BODIES - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    // Several at once: retries of one another, and others that come in between.
    arbitrary: fc.record({
      step: fc.constant("call" as const),
      slot,
      bodies: fc.array(body, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ step: fc.constant("fail" as const), slot, body }) },
  { weight: 1, arbitrary: fc.constant({ step: "restart" as const }) },
);

test("a key stands for the first body that its token sent with it, over retries, races, failures and restarts", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const disk = new MemoryDisk();
      const open = async (): Promise<RestFixture> => {
        const fixture = await RestFixture.start({ disk, cluster });
        fixture.node.fund(60_000n);
        fixture.node.beforeSubmit = overlap;
        return fixture;
      };
      let rest = await open();
      const bodies = Array.from({ length: BODIES }, (_, at) =>
        rest.signedSpend({ outputs: [{ address: rest.recipient(), amountSats: amountOf(at) }] }),
      );
      const send = ({ role, key }: Slot, at: number): Promise<Answer> =>
        rest.call("POST", "/api/v1/transactions", {
          role,
          body: bodies[at],
          headers: { "idempotency-key": key },
        });
      /** What each slot was answered first, and to which body. */
      const first = new Map<string, { readonly body: number; readonly text: string }>();
      try {
        for (const each of steps) {
          if (each.step === "restart") {
            await rest.close();
            rest = await open();
            continue;
          }
          const name = `${each.slot.role} ${each.slot.key}`;
          if (each.step === "fail") {
            rest.node.beforeSubmit = async () => {
              throw new Error("passing");
            };
            const answer = await send(each.slot, each.body);
            rest.node.beforeSubmit = overlap;
            const known = first.get(name);
            // A failure is nobody's answer: it leaves the key free, and what is known is known without another execution.
            assert.equal(answer.status, known === undefined ? 500 : known.body === each.body ? 202 : 409);
            continue;
          }
          const answers = await Promise.all(
            each.bodies.map(async (at) => ({ at, answer: await send(each.slot, at) })),
          );
          const taken = answers.filter(({ answer }) => answer.status === 202);
          const won = first.get(name) ?? { body: taken[0]?.at ?? -1, text: taken[0]?.answer.text ?? "" };
          for (const { at, answer } of answers) {
            if (at === won.body) assert.deepEqual([answer.status, answer.text], [202, won.text]);
            else assert.deepEqual([answer.status, answer.json.code], [409, "idempotency-conflict"]);
          }
          if (taken.length > 0) first.set(name, won);
        }
        // Whoever asked for a body, with whatever key, asked for one spend.
        const asked = new Set([...first.values()].map((known) => known.body));
        assert.equal((await rest.store.transactions({ limit: 100 })).length, asked.size);
      } finally {
        await rest.close();
      }
    }),
    { numRuns: 40 },
  );
});

/** Long enough for what was sent together to meet an execution under way. */
function overlap(): Promise<void> {
  return delay(10);
}

function amountOf(at: number): Sats {
  return satsSchema.parse(30_000n + BigInt(at));
}
