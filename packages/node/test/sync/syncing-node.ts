import type { MemoryChainSource } from "@cairn/bitcoin";
import {
  CairnError,
  type Clock,
  type Courier,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  type StoreWrite,
  systemRandom,
} from "@cairn/core";
import { BanDesk, Loop, SpendDesk, SyncAnswers, SyncDesk, SyncQuestions, WalletBook } from "@cairn/runtime";
import { AuditLog } from "@cairn/storage";
import { inForce, members, walletRow } from "./missed-spend.ts";

const DAY_MS = 24 * 3_600_000;
const cluster = inForce.manifest.cluster;
const book = { ...inForce, under: () => ({ ...inForce, commit: null }) };

export interface DeskModules {
  readonly store: NodeStore;
  readonly chain: MemoryChainSource;
  readonly clock: Clock;
  /** Told of what no node may run into. */
  readonly report: (cause: unknown) => void;
}

/** What sync needs of a node: spends over a store, in a node that is kept from voting. */
export async function spendDesk(me: NodeIndex, modules: DeskModules) {
  const { store, chain, clock, report } = modules;
  const signer = members[me - 1];
  if (signer === undefined) throw new RangeError(`no node ${me}`);
  const audit = await AuditLog.create({ cluster, node: me }, { store, signer, clock });
  // What is posted to others is no part of this.
  const courier = {
    posting: () => ({ write: "meta", key: "posting", value: Uint8Array.of(0) }),
    kick: () => {},
    send: () => {},
    setRefused: () => {},
  } as unknown as Courier;
  const loop = new Loop({ store, courier, audit, report });
  const wallets = new WalletBook({ chain, clock });
  wallets.add(walletRow);
  const spends = new SpendDesk(
    {
      me,
      book,
      protocolVersions: [1],
      clockSkewMs: 30_000,
      // Nothing ends by time alone.
      roundMs: DAY_MS,
      recheckMs: DAY_MS,
      anchorMs: 0,
    },
    {
      loop,
      store,
      chain,
      wallets,
      signer,
      clock,
      random: systemRandom,
      certified: () => {},
      signed: () => {},
      signing: () => false,
      underWay: () => false,
      violation: () => {},
      proves: () => false,
      changed: () => {},
      admitted: () => new Promise(() => {}),
      recollection: { restoredAt: null, forgets: () => false },
      checkpoint: () => null,
      report,
    },
  );
  await spends.restore();
  return { spends, loop, courier, signer };
}

/** A peer that answers as the code does. */
export async function answeringPeer(
  me: NodeIndex,
  modules: DeskModules,
  send: Courier["send"],
): Promise<SyncAnswers> {
  const { spends } = await spendDesk(me, modules);
  return new SyncAnswers({
    courier: { send },
    clock: modules.clock,
    book: book as never,
    changes: { commits: () => [] },
    keys: { walletProofs: () => [] },
    bans: { accusations: async () => [] },
    spends: spends.shelf,
    report: modules.report,
  });
}

/** A node that asks, from its start to its end. */
export interface SyncingNode {
  readonly questions: SyncQuestions;
  readonly sync: SyncDesk;
  readonly bans: BanDesk;
  close(): Promise<void>;
}

export async function syncingNode(
  me: NodeIndex,
  modules: DeskModules,
  send: Courier["send"],
): Promise<SyncingNode> {
  const { clock, report, store } = modules;
  let closed = false;
  const careful = (cause: unknown) => {
    // The end of a process, and a disk that failed, are told to whatever was under way.
    if (closed || (isCairnError(cause) && (cause.code === "closed" || cause.code.startsWith("storage"))))
      return;
    report(cause);
  };
  const { spends, loop, courier, signer } = await spendDesk(me, { ...modules, report: careful });
  const bans = new BanDesk(
    { me, book },
    {
      loop,
      store,
      courier,
      signer,
      clock,
      detected: () => {},
      banned: () => {},
      lifted: () => {},
      setBack: async () => {},
      forgiven: () => false,
    },
  );
  await bans.restore();
  const questions = new SyncQuestions({ courier: { send }, clock, random: systemRandom, book });
  const none = async () => {
    throw new CairnError("malformed", "nobody has that to hand over");
  };
  const sync = new SyncDesk(
    { me },
    {
      loop,
      store,
      clock,
      questions,
      catchUp: { fetch: (node: NodeIndex) => questions.each(node, "changes", none) },
      book,
      fence: { isCurrent: () => true },
      bans,
      keys: { takeWallet: none },
      spends: spends.sync,
      recollection: { restoredAt: null, isDone: true, status: null, hear: () => {} } as never,
      told: () => {},
      recalled: () => {},
      report: careful,
    },
  );
  await sync.restore();
  await spends.resume();
  return {
    questions,
    sync,
    bans,
    async close() {
      closed = true;
      sync.close();
      questions.close();
      await store.close();
    },
  };
}

/** The store, each of whose commits is looked at before it is made. */
export function watched(store: NodeStore, look: (writes: readonly StoreWrite[]) => void): NodeStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "commit") {
        return (writes: readonly StoreWrite[]) => {
          look(writes);
          return target.commit(writes);
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
