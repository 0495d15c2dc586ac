import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isCairnError } from "@cairn/core";
import type { Coordination, CoordinationChange } from "../src/index.ts";

/** A coordination store of a test's own. */
export interface CoordinationPlace {
  /** A further member; of a store that is not shared, the same one again. */
  join(): Promise<Coordination>;
  /** Lets so much time pass. */
  pass(ms: number): Promise<void>;
  remove(): Promise<void>;
}

/** What every {@link Coordination} must do. */
export function coordinationContract(name: string, createPlace: () => Promise<CoordinationPlace>): void {
  async function withPlace(run: (place: CoordinationPlace) => Promise<void>): Promise<void> {
    const place = await createPlace();
    await run(place).finally(() => place.remove());
  }

  describe(`${name} as coordination`, () => {
    test("an entry is read as it was last written, and lists come by prefix and key", async () => {
      await withPlace(async (place) => {
        const writer = await place.join();
        const reader = await place.join();
        await writer.put("/bans/3", "first");
        await writer.put("/bans/3", "second");
        await writer.put("/bans/1", "x");
        await writer.put("/peers/1", "y");
        assert.equal((await reader.get("/bans/3"))?.value, "second");
        assert.equal(await reader.get("/bans/2"), null);
        assert.deepEqual(
          (await reader.list("/bans/")).map(({ key, value }) => [key, value]),
          [
            ["/bans/1", "x"],
            ["/bans/3", "second"],
          ],
        );
        await reader.remove("/bans/3");
        await reader.remove("/bans/3");
        assert.equal(await writer.get("/bans/3"), null);
      });
    });

    test("an entry with a term is gone after it, and writing it again begins a new term", async () => {
      await withPlace(async (place) => {
        const store = await place.join();
        await store.put("/peers/1", "up", { ttlMs: 2_000 });
        await store.put("/peers/2", "up", { ttlMs: 2_000 });
        await place.pass(1_500);
        await store.put("/peers/1", "up", { ttlMs: 2_000 });
        await place.pass(1_500);
        assert.equal((await store.get("/peers/1"))?.value, "up");
        assert.equal(await store.get("/peers/2"), null);
        await store.put("/peers/1", "for good");
        await place.pass(5_000);
        assert.equal((await store.get("/peers/1"))?.value, "for good");
      });
    });

    test("of many swaps from one revision, one takes place", async () => {
      await withPlace(async (place) => {
        const members = [await place.join(), await place.join()];
        const race = async (revision: number): Promise<string[]> => {
          const values = ["a", "b", "c", "d"];
          const won = await Promise.all(
            values.map((value, i) => members[i % 2]?.compareAndSwap("/tx/1/state", revision, value)),
          );
          return values.filter((_, i) => won[i] === true);
        };
        const [first, ...others] = await race(0);
        assert.deepEqual(others, []);
        const entry = await members[0]?.get("/tx/1/state");
        assert.equal(entry?.value, first);
        assert.equal((await race(entry?.revision ?? -1)).length, 1);
        assert.equal((await race(entry?.revision ?? -1)).length, 0);
        const term = { ttlMs: 2_000 };
        assert.equal(await members[0]?.compareAndSwap("/tx/2/state", 0, "for a while", term), true);
        await place.pass(3_000);
        assert.equal(await members[0]?.get("/tx/2/state"), null);
      });
    });

    test("a watcher is told of each change under its prefix, in order, until it stops", async () => {
      await withPlace(async (place) => {
        const writer = await place.join();
        const seen: string[] = [];
        const note = (change: CoordinationChange): void => {
          seen.push(change.change === "put" ? `${change.entry.key}=${change.entry.value}` : `-${change.key}`);
        };
        const watch = await (await place.join()).watch("/votes/", note);
        await writer.put("/votes/1", "yes");
        await writer.put("/peers/1", "up");
        await writer.put("/votes/2", "no", { ttlMs: 1_000 });
        await writer.remove("/votes/1");
        await place.pass(3_000);
        assert.deepEqual(seen, ["/votes/1=yes", "/votes/2=no", "-/votes/1", "-/votes/2"]);
        watch.stop();
        await writer.put("/votes/3", "yes");
        await place.pass(100);
        assert.equal(seen.length, 4);
      });
    });

    test("an election has one leader at a time, the next in line follows with a higher fence", async () => {
      await withPlace(async (place) => {
        const first = await (await place.join()).campaign("coordinator");
        const other = await (await place.join()).campaign("another election");
        assert.equal(other.lost.aborted, false);
        let followed = false;
        const waiting = (await place.join()).campaign("coordinator").then((leadership) => {
          followed = true;
          return leadership;
        });
        await place.pass(100);
        assert.equal(followed, false);
        await first.resign();
        const second = await waiting;
        assert.equal(first.lost.aborted, true);
        assert.equal(second.lost.aborted, false);
        assert.ok(second.fence > first.fence);
      });
    });

    test("who leaves the line is never elected", async () => {
      await withPlace(async (place) => {
        const first = await (await place.join()).campaign("coordinator");
        const leaver = new AbortController();
        const left = (await place.join()).campaign("coordinator", { signal: leaver.signal });
        const stays = (await place.join()).campaign("coordinator");
        leaver.abort(new Error("left"));
        await assert.rejects(left, /left/);
        await first.resign();
        assert.equal((await stays).lost.aborted, false);
        await assert.rejects((await place.join()).campaign("coordinator", { signal: leaver.signal }), /left/);
      });
    });

    test("a closed one refuses everything, gives up its office and hears no more", async () => {
      await withPlace(async (place) => {
        const store = await place.join();
        const office = await store.campaign("coordinator");
        await store.close();
        await store.close();
        assert.equal(office.lost.aborted, true);
        await assert.rejects(store.get("/x"), (error) => isCairnError(error, "closed"));
        await assert.rejects(store.put("/x", "y"), (error) => isCairnError(error, "closed"));
        await assert.rejects(store.campaign("coordinator"), (error) => isCairnError(error, "closed"));
      });
    });
  });
}
