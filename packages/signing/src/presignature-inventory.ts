import type { ClusterId, KeyId, KeyPath, NodeIndex, PresignatureId, UnixMs } from "@cairn/core";
import { initiatorOfAttempt, initiatorOrder } from "./initiator.ts";
import { MAX_PRESIGN_ITEMS, type PresignJob } from "./presign-job.ts";
import type { PresignatureFacts } from "./session-state.ts";
import { presignSubject } from "./session-subject.ts";
import { isValidSubset, subsetsInOrder } from "./subset.ts";

/** How much is kept half-made for each wallet. */
export interface InventorySettings {
  /** Presignatures wanted, over all paths and signer sets. */
  readonly target: number;
  /** Refilling begins when fewer are there. */
  readonly refillBelow: number;
  /** Presignatures of one session. */
  readonly batch: number;
  readonly checkMs: number;
}

export const defaultInventorySettings: InventorySettings = {
  target: 50,
  refillBelow: 20,
  batch: 10,
  checkMs: 300_000,
};

/** The key whose inventory it is. */
export interface InventoryKey {
  readonly cluster: ClusterId;
  readonly keyId: KeyId;
  readonly epoch: number;
  readonly members: readonly NodeIndex[];
  readonly threshold: number;
}

/** A path that holds coins, or will: each unspent output needs its own presignature. */
export interface WantedPath {
  readonly path: KeyPath;
  /** Unspent outputs on it; 1 for the next change address. */
  readonly outputs: number;
}

export interface InventoryStatus {
  /** Ready, of any signer set. */
  readonly ready: number;
  /** Ready, and all of its signers are up. */
  readonly usable: number;
  /** Made, but not yet confirmed by all signers. */
  readonly pending: number;
  /** Target after the cap of outputs × signer sets. */
  readonly wanted: number;
  /** Outputs for which nothing usable is there. */
  readonly bare: number;
}

/** Stock of one key as people see it. */
export function inventoryStatus(
  key: InventoryKey,
  stock: readonly PresignatureFacts[],
  wanted: readonly WantedPath[],
  up: ReadonlySet<NodeIndex>,
  settings: InventorySettings,
): InventoryStatus {
  const ours = stock.filter((item) => item.keyId === key.keyId && item.epoch === key.epoch);
  const ready = ours.filter((item) => item.state === "ready");
  const usable = ready.filter((item) => item.signers.every((signer) => up.has(signer)));
  return {
    ready: ready.length,
    usable: usable.length,
    pending: ours.filter((item) => item.state === "pending").length,
    wanted: cappedTarget(key, wanted, settings),
    bare: bareOutputs(usable, wanted),
  };
}

/**
 * The jobs that this node opens now: those of its turn as initiator, for signer sets whose members are all up. Refilling begins when the
 * usable stock falls below `refillBelow`, or an output has nothing at all, and goes on to the target.
 * @param up nodes that are up, this node among them
 */
export function planPresigning(
  key: InventoryKey,
  stock: readonly PresignatureFacts[],
  wanted: readonly WantedPath[],
  facts: {
    readonly me: NodeIndex;
    readonly up: ReadonlySet<NodeIndex>;
    readonly refused: ReadonlySet<NodeIndex>;
    /** Those with whom sessions kept failing: their sets come last. */
    readonly quarantined?: ReadonlySet<NodeIndex>;
    readonly now: UnixMs;
  },
  settings: InventorySettings,
): readonly PresignJob[] {
  const usableNodes = new Set([...facts.up].filter((node) => !facts.refused.has(node)));
  const live = useful(
    stock.filter(
      (item) =>
        item.keyId === key.keyId &&
        item.epoch === key.epoch &&
        (item.state === "ready" || item.state === "pending") &&
        item.signers.every((signer) => usableNodes.has(signer)),
    ),
    wanted,
  );
  const target = cappedTarget(key, wanted, settings);
  const low = live.length < Math.min(settings.refillBelow, target);
  const bare = bareOutputs(live, wanted);
  if (!low && bare === 0) return [];

  const slot = Math.floor(facts.now / settings.checkMs);
  const jobs: PresignJob[] = [];
  // An output with nothing gets its first even where others have filled the target.
  let missing = Math.max(target - live.length, bare);
  const suspects = (signers: readonly NodeIndex[]) =>
    signers.filter((signer) => signer !== facts.me && facts.quarantined?.has(signer) === true).length;
  for (const signers of signerSets(key).toSorted((a, b) => suspects(a) - suspects(b))) {
    if (!signers.every((signer) => usableNodes.has(signer))) continue;
    const paths = missingPaths(live, wanted, signers).slice(
      0,
      Math.min(missing, settings.batch, MAX_PRESIGN_ITEMS),
    );
    missing -= paths.length;
    if (paths.length === 0 || !signers.includes(facts.me)) continue;
    const job: PresignJob = {
      version: 1,
      cluster: key.cluster,
      keyId: key.keyId,
      epoch: key.epoch,
      signers: [...signers],
      paths: paths.map(([change, index]): [0 | 1, number] => [change, index]),
      slot,
    };
    const subject = presignSubject(job, settings.checkMs);
    const order = initiatorOrder(subject.orderBy, subject.nonce, subject.members);
    if (initiatorOfAttempt(order, 0) === facts.me) jobs.push(job);
  }
  return jobs;
}

/** Whether a peer's job is one that this node takes part in: its key, its members, a batch of lawful size, of this slot or a neighbour. */
export function isLawfulJob(
  key: InventoryKey,
  job: PresignJob,
  now: UnixMs,
  settings: InventorySettings,
): boolean {
  const slot = Math.floor(now / settings.checkMs);
  return (
    job.cluster === key.cluster &&
    job.keyId === key.keyId &&
    job.epoch === key.epoch &&
    isValidSubset(job.signers, key.members, key.threshold) &&
    job.paths.length <= settings.batch &&
    Math.abs(job.slot - slot) <= 1
  );
}

/** A signer set and one ready presignature of it for each input. */
export interface PresignatureChoice {
  readonly signers: readonly NodeIndex[];
  /** In the order of the inputs. */
  readonly items: readonly PresignatureId[];
}

/**
 * Presignatures for a grant: of one signer set, which must serve all inputs.
 * @param subsets signer sets in order of preference
 * @returns null when no set can serve all inputs: the full protocol runs then
 */
export function choosePresignatures(
  key: Pick<InventoryKey, "keyId" | "epoch">,
  stock: readonly PresignatureFacts[],
  paths: readonly KeyPath[],
  subsets: readonly (readonly NodeIndex[])[],
): PresignatureChoice | null {
  for (const signers of subsets) {
    const left = stock
      .filter(
        (item) =>
          item.state === "ready" &&
          item.keyId === key.keyId &&
          item.epoch === key.epoch &&
          item.signers.join() === signers.join(),
      )
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const items: PresignatureId[] = [];
    for (const path of paths) {
      const at = left.findIndex((item) => item.path.join() === path.join());
      const [found] = at < 0 ? [] : left.splice(at, 1);
      if (found === undefined) break;
      items.push(found.id);
    }
    if (items.length === paths.length) return { signers, items };
  }
  return null;
}

function signerSets(key: InventoryKey): readonly (readonly NodeIndex[])[] {
  return subsetsInOrder(presignatureOrderOf(key), key.members, key.threshold);
}

function presignatureOrderOf(key: InventoryKey) {
  const { cluster, keyId, epoch } = key;
  return presignSubject({ version: 1, cluster, keyId, epoch, signers: [], paths: [], slot: 0 }, 1).orderBy;
}

function cappedTarget(key: InventoryKey, wanted: readonly WantedPath[], settings: InventorySettings): number {
  const outputs = wanted.reduce((sum, { outputs: count }) => sum + count, 0);
  return Math.min(settings.target, outputs * signerSets(key).length);
}

/** The part of `stock` that can serve a wanted output: a spent coin leaves behind what other signer sets had made for it. */
function useful(stock: readonly PresignatureFacts[], wanted: readonly WantedPath[]): PresignatureFacts[] {
  const left = new Map<string, number>();
  return stock.filter(({ path, signers }) => {
    const place = `${path.join("/")} ${signers.join()}`;
    const outputs = wanted.find((entry) => entry.path.join() === path.join())?.outputs ?? 0;
    const room = left.get(place) ?? outputs;
    left.set(place, room - 1);
    return room > 0;
  });
}

function bareOutputs(stock: readonly PresignatureFacts[], wanted: readonly WantedPath[]): number {
  return wanted.reduce((sum, { path, outputs }) => {
    const best = new Map<string, number>();
    for (const item of stock) {
      if (item.path.join() !== path.join()) continue;
      const set = item.signers.join();
      best.set(set, (best.get(set) ?? 0) + 1);
    }
    return sum + Math.max(0, outputs - Math.max(0, ...best.values()));
  }, 0);
}

/**
 * Paths that lack presignatures of one signer set, one entry for each that lacks, round by round over the wanted paths, those with the least
 * stock first.
 */
function missingPaths(
  stock: readonly PresignatureFacts[],
  wanted: readonly WantedPath[],
  signers: readonly NodeIndex[],
): KeyPath[] {
  const lacks = wanted.map(({ path, outputs }) => {
    const have = stock.filter(
      (item) => item.path.join() === path.join() && item.signers.join() === signers.join(),
    );
    const stocked = stock.filter((item) => item.path.join() === path.join()).length;
    return { path, lack: Math.max(0, outputs - have.length), stocked };
  });
  lacks.sort((a, b) => a.stocked - b.stocked);
  const rounds = Math.max(0, ...lacks.map(({ lack }) => lack));
  return Array.from({ length: rounds }, (_, round) =>
    lacks.filter(({ lack }) => lack > round).map(({ path }) => path),
  ).flat();
}
