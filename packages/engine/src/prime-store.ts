import { mkdir, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, fromHex, toHex } from "@cairn/core";
import type { NativeSealedPrime } from "@cairn/native-engine";

const suffix = ".sealed";
const namePattern = /^[0-9a-f]{64}\.sealed$/;

/**
 * Sealed safe primes, one file each. A prime is deleted durably before it is used, so that no crash lets one be used twice:
 * moduli that share a prime are both factored by a gcd.
 */
export interface PrimeStore {
  count(): Promise<number>;
  /** Durable when the promise resolves. */
  put(prime: NativeSealedPrime): Promise<void>;
  /** Takes `count` primes out for good, or none and answers `undefined` where there are fewer. */
  take(count: number): Promise<NativeSealedPrime[] | undefined>;
}

/**
 * Opens the store in `folder` (made with mode 0700).
 * @throws CairnError `storage-failed`
 */
export async function openPrimeStore(folder: string): Promise<PrimeStore> {
  await explained(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
  const names = async () => (await readdir(folder)).filter((name) => namePattern.test(name)).sort();
  let last: Promise<unknown> = Promise.resolve();
  /** One operation after another: two takers must never see the same file. */
  const alone = <T>(run: () => Promise<T>): Promise<T> => {
    const next = last.then(() => explained(folder, run));
    last = next.catch(() => undefined);
    return next;
  };

  return {
    count: () => alone(async () => (await names()).length),

    put: ({ id, sealed }) =>
      alone(async () => {
        const path = join(folder, `${toHex(id)}${suffix}`);
        const file = await open(`${path}.tmp`, "w", 0o600);
        try {
          await file.writeFile(sealed);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(`${path}.tmp`, path);
        await syncFolder(folder);
      }),

    take: (count) =>
      alone(async () => {
        const chosen = (await names()).slice(0, count);
        if (chosen.length < count) return undefined;
        const primes: NativeSealedPrime[] = [];
        for (const name of chosen) {
          primes.push({
            id: fromHex(name.slice(0, -suffix.length)),
            sealed: new Uint8Array(await readFile(join(folder, name))),
          });
        }
        for (const name of chosen) await unlink(join(folder, name));
        await syncFolder(folder);
        return primes;
      }),
  };
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function explained<T>(folder: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw new CairnError(
      "storage-failed",
      "the folder of sealed primes cannot be used: check that it exists, is writable and has room",
      { folder },
      { cause },
    );
  }
}
