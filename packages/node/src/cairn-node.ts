import { resolve } from "node:path";
import { connectEsplora } from "@cairn/bitcoin";
import { type Authorisation, quorumAuthorisation } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type Courier,
  encodeCanonical,
  isCairnError,
  type Manifest,
  type ManifestHash,
  manifestHash,
  type NodeConfig,
  type NodeStore,
  type Random,
} from "@cairn/core";
import type { OpenEngineOptions, OpenedEngine } from "@cairn/engine";
import { makePrivateFolder } from "@cairn/pki";
import { NodeRuntime, type RuntimeOptions } from "@cairn/runtime";
import { defaultAttemptSettings, initiatorDriver } from "@cairn/signing";
import { AuditLog } from "@cairn/storage";
import { createCourier, createTcpTransport, createTransportMetrics } from "@cairn/transport";
import { AlertDesk } from "./alert-desk.ts";
import { alertSources } from "./alert-sources.ts";
import { alertWords } from "./alert-words.ts";
import type { ApiModules } from "./api-modules.ts";
import { backupMaker } from "./backup/backup-maker.ts";
import { ClockWatch } from "./clock-watch.ts";
import { CoordinationBoard } from "./coordination-board.ts";
import type { Log } from "./create-log.ts";
import { EventHub } from "./event-hub.ts";
import { guardStore } from "./guard-store.ts";
import { keySourceOf } from "./key-source-of.ts";
import type { LoadedConfig } from "./load-config.ts";
import { createMetrics } from "./metrics.ts";
import type { NodeFacade } from "./node-facade.ts";
import { openCoordination } from "./open-coordination.ts";
import { openStore } from "./open-store.ts";
import { type NodeFiles, readNodeFiles } from "./read-node-files.ts";
import { startRestServer } from "./rest-server.ts";
import { SharedCoinAdvice } from "./shared-coin-advice.ts";
import { protocolVersions, softwareVersion } from "./software-version.ts";
import { SpendFactsCache } from "./spend-facts-cache.ts";
import { watchPrimes } from "./watch-primes.ts";

/** The threshold engine that a daemon runs with. */
export interface EngineChoice {
  /** `reduced` protects nothing and is refused outside of regtest. */
  readonly level: "full" | "reduced";
  readonly create: (options: OpenEngineOptions) => Promise<OpenedEngine>;
}

export interface CairnNodeModules {
  readonly engine: EngineChoice;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** What stands between the node and its courier; nothing by default. Tests put a liar there. */
  readonly courier?: (courier: Courier) => Courier;
  /**
   * Told once when the database has failed (`storage-failed`, `storage-corrupt`): the node does nothing any more, and its process
   * should end.
   */
  readonly storageFailed: (error: CairnError) => void;
}

/** Time between two looks at the stock of primes. */
const PRIMES_LOOK_MS = 2_000;
const CERTIFICATE_WARNING_MS = 30 * 24 * 60 * 60 * 1000;
/** States of a proposed change that operators must look into. */
const failedChangeStates: ReadonlySet<string> = new Set([
  "rejected",
  "expired",
  "failed",
  "conflict",
  "unsupported",
]);

/**
 * A whole node: the composition root. Everything that was opened is closed in the opposite order, also when a later step of
 * starting fails.
 */
export class CairnNode {
  /** Where the REST API and peers connect. */
  readonly apiUrl: string;
  readonly peerAddress: string;
  readonly #closers: (() => Promise<void>)[];
  readonly #log: Log;
  #closing: Promise<void> | null = null;

  private constructor(listeners: Listeners, closers: (() => Promise<void>)[], log: Log) {
    this.apiUrl = listeners.apiUrl;
    this.peerAddress = listeners.peerAddress;
    this.#closers = closers;
    this.#log = log;
  }

  /**
   * Starts the node that `loaded` describes and resolves once it listens to peers and to people.
   * @throws CairnError with what is wrong with configuration, files, store, engine or listeners
   */
  static async start(loaded: LoadedConfig, modules: CairnNodeModules): Promise<CairnNode> {
    const closers: (() => Promise<void>)[] = [];
    try {
      return new CairnNode(await compose(loaded, modules, closers), closers, modules.log);
    } catch (error) {
      await closeAll(closers, modules.log);
      throw error;
    }
  }

  /** Stops listening, lets commits under way finish, and closes everything. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= closeAll(this.#closers, this.#log);
    return this.#closing;
  }
}

interface Listeners {
  readonly apiUrl: string;
  readonly peerAddress: string;
}

/** Opens everything, each after what it needs, and leaves in `closers` how to close what has been opened so far. */
async function compose(
  loaded: LoadedConfig,
  modules: CairnNodeModules,
  closers: (() => Promise<void>)[],
): Promise<Listeners> {
  const { config, folder } = loaded;
  const { log, clock, random } = modules;
  const stop = new AbortController();
  const files = await readNodeFiles(loaded, clock.now());
  const { me, manifest, signer } = files;
  refuseReduced(modules.engine.level, manifest);
  const authorisation = authorisationOf(manifest);
  warnOfExpiry(files, clock, log);
  const hash = manifestHash(manifest);
  const dataDir = resolve(folder, config.node.data_dir);
  await makePrivateFolder(dataDir);

  const metrics = createMetrics();
  const clocks = new ClockWatch({
    clock,
    began: () =>
      log.warn(
        "a peer's clock and this node's differ too much: check time synchronisation on both machines",
        {
          code: "clock-skew",
          believedMs: config.consensus.clock_skew_ms,
        },
      ),
  });
  const report = (cause: unknown): void => {
    if (stop.signal.aborted) return;
    metrics.error(isCairnError(cause) ? cause.code : "internal");
    if (isCairnError(cause)) log.warn("background failure", { error: cause });
    else log.error("background failure", { error: cause });
  };

  const opened = await openStore(loaded, { cluster: manifest.cluster, node: me }, { clock });
  closers.push(() => opened.close());
  const { store, writable } = guardStore(opened, modules.storageFailed);
  await pinManifest(store, files, hash);
  const audit = await AuditLog.create({ cluster: manifest.cluster, node: me }, { store, signer, clock });

  const { engine, backups } = await modules.engine.create({
    clusterId: manifest.cluster,
    me,
    dataDir,
    keySource: keySourceOf(config.vault, files.vaultPath),
    ...(config.signing.threads === null ? {} : { threads: config.signing.threads }),
    primes: { target: config.primes.target },
  });
  closers.push(() => engine.close());

  const transportMetrics = clocks.watched(createTransportMetrics(metrics.counters));
  const transport = createTcpTransport(
    {
      me,
      epoch: files.epoch,
      protocolVersions,
      listen: hostPort(config.transport.p2p_listen),
      manifest,
      credentials: { certificate: files.certificate, authority: files.authority, revocations: null },
    },
    { clock, random, signer, metrics: transportMetrics, report },
  );
  const plain = createCourier(
    { me, epoch: files.epoch, clockSkewMs: config.consensus.clock_skew_ms },
    {
      transport,
      store,
      clock,
      signer,
      sealing: files.sealing,
      manifest: () => manifest,
      metrics: transportMetrics,
      report,
    },
  );
  const courier = modules.courier?.(plain) ?? plain;
  closers.push(() => courier.close());

  const chain = connectEsplora(
    { endpoints: config.chain.endpoints, network: manifest.network, timeoutMs: config.chain.timeout_ms },
    { clock, signal: stop.signal },
  );
  const coordination = await openCoordination(loaded, manifest.cluster, { clock, random, report });
  if (coordination !== null) closers.push(() => coordination.close());
  const runtime = await NodeRuntime.start(runtimeOptions(config, files), {
    store,
    audit,
    courier,
    chain,
    authorisation,
    driver: initiatorDriver,
    engine,
    signer,
    clock,
    random,
    ...(coordination === null ? {} : { coinAdvice: new SharedCoinAdvice({ coordination, clock }) }),
    inForce: (constitution) => transport.setManifest(constitution.manifest),
    report,
  });
  closers.push(async () => {
    stop.abort();
    await runtime.close();
  });
  const events = new EventHub({ clock, report });
  const unsubscribe = runtime.subscribe((event) => events.emit(event));
  closers.push(async () => unsubscribe());
  events.subscribe(({ type, subject, state, data }) => {
    metrics.event(type, state);
    if (type === "change" && failedChangeStates.has(state))
      log.error("a proposal failed: see what operators and nodes said of it", {
        subject,
        state,
        ...data,
      });
    else log.info(type, { subject, state, ...data });
  });
  const board =
    coordination === null
      ? null
      : new CoordinationBoard(
          { me, manifest: () => runtime.manifests.manifest },
          { coordination, store, clock, report },
        );
  if (board !== null) {
    closers.push(() => board.close());
    events.subscribe(board.onEvent);
    await board.start();
  }
  const coordinationStatus = () => ({
    type: config.coordination.type,
    failingSince: board?.failingSince ?? null,
  });
  const stopWatching = watchPrimes(PRIMES_LOOK_MS, {
    primes: () => engine.primes(),
    clock,
    changed: ({ ready, target, generating }) =>
      events.emit({
        type: "primes",
        subject: String(me),
        state: generating ? "generating" : "idle",
        data: { ready, target },
      }),
    report,
  });
  closers.push(async () => stopWatching());

  const node: NodeFacade = runtime;
  const chainOk = () => chain.health().healthy > 0;
  const alerts = new AlertDesk({
    sources: alertSources({
      me,
      get manifest() {
        return runtime.manifests.manifest;
      },
      node,
      store,
      storageWritable: writable,
      clockAgrees: clocks.agrees,
      chainOk,
      certificateEnds: files.certificateEnds,
      setBack: () => runtime.fence.refused(),
      rolledBack: () => runtime.rolledBack,
      dissenting: () => chain.dissenting(),
      coordination: coordinationStatus,
      clock,
    }),
    clock,
    changed: ({ kind, subject, since, data }, state) => {
      events.emit({ type: "alert", subject, state, data: { ...data, kind, since } });
      const { what, advice } = alertWords[kind];
      if (state === "raised") log.warn(what, { kind, subject, since, advice, ...data });
    },
    report,
  });
  const makeBackup = backupMaker({
    loaded,
    store,
    me,
    epoch: files.epoch,
    book: runtime.manifests,
    vault: backups,
    clock,
    made: (backup) => runtime.backups.made(backup),
  });
  const api: ApiModules = {
    me,
    makeBackup,
    get manifest() {
      return runtime.manifests.manifest;
    },
    get manifestHash() {
      return runtime.manifests.manifestHash;
    },
    genesis: files.signedManifest,
    protocolVersions,
    version: softwareVersion,
    epoch: files.epoch,
    presignatures: config.presignatures,
    node,
    events,
    alerts,
    coordination: coordinationStatus,
    store,
    storageWritable: writable,
    spendFacts: new SpendFactsCache(),
    primes: () => engine.primes(),
    clockAgrees: clocks.agrees,
    chainOk,
    chain,
    clock,
    random,
  };
  const rest = await startRestServer(
    { api: config.api, tls: files.tls },
    { api, store, log, metrics, clock, random, report },
  );
  closers.push(() => rest.close());
  metrics.observe({
    peersUp: () => runtime.peers().filter((peer) => peer.up).length,
    tipHeight: () => runtime.chain.tipHeight,
    burnCounter: () => store.burnCounter(),
    auditLength: async () => audit.length,
    primesReady: async () => (await engine.primes()).ready,
    presignatures: async () =>
      (await runtime.presignatures.status()).map(({ keyId, status }) => ({ keyId, ...status })),
    bansInForce: () => runtime.bans.bans().length,
    abstains: () => runtime.sync.status().abstains,
    peersWhole: () => runtime.sync.status().peers.filter(({ wholeAt }) => wholeAt !== null).length,
    eventClients: () => rest.eventClients(),
    alerts: () => alerts.counts(),
  });
  alerts.start();
  closers.push(async () => alerts.close());
  const peer = transport.address();
  const host = peer.host.includes(":") ? `[${peer.host}]` : peer.host;
  // The first to be closed: requests that wait for the chain must not hold up the stop.
  closers.push(async () => stop.abort());
  return { apiUrl: rest.url, peerAddress: `${host}:${peer.port}` };
}

/** In the opposite order of opening. One that fails to close keeps none of the others open. */
async function closeAll(closers: (() => Promise<void>)[], log: Log): Promise<void> {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) {
    try {
      await close();
    } catch (error) {
      log.error("closing failed", { error });
    }
  }
}

function refuseReduced(level: EngineChoice["level"], manifest: Manifest): void {
  if (level === "full" || manifest.network === "regtest") return;
  throw new CairnError(
    "config-invalid",
    `the reduced engine protects nothing and runs on regtest alone; this cluster is on ${manifest.network}: start main.ts`,
    { network: manifest.network },
  );
}

function warnOfExpiry({ certificateEnds }: NodeFiles, clock: Clock, log: Log): void {
  const left = certificateEnds - clock.now();
  if (left > CERTIFICATE_WARNING_MS) return;
  log.warn("this node's certificate ends soon; issue a new one", { days: Math.floor(left / 86_400_000) });
}

/** The first manifest that a database was used with is the one that it belongs to. */
async function pinManifest(
  store: NodeStore,
  { signedManifest }: NodeFiles,
  hash: ManifestHash,
): Promise<void> {
  const known = (await store.manifests()).find(
    ({ sequence }) => sequence === signedManifest.manifest.sequence,
  );
  if (known === undefined) {
    const row = { sequence: signedManifest.manifest.sequence, hash, body: encodeCanonical(signedManifest) };
    return store.commit([{ write: "manifest", row }]);
  }
  if (known.hash === hash) return;
  throw new CairnError(
    "wrong-manifest",
    "files.manifest is not the manifest that this node's database was made with; restore the one that belongs to it",
    { pinned: known.hash, found: hash },
  );
}

function runtimeOptions(config: NodeConfig, { me, manifest, policy, epoch }: NodeFiles): RuntimeOptions {
  const { consensus, signing, presignatures, chain } = config;
  const timeouts = {
    ackMs: signing.ack_ms,
    // A signer waits for Start longer than the initiator waits for Acks, so that neither gives up on the other too early.
    startMs: 2 * signing.ack_ms,
    roundMs: signing.round_ms,
    sessionMs: signing.session_ms,
  };
  return {
    me,
    manifest,
    policy,
    protocolVersions,
    epoch,
    clockSkewMs: consensus.clock_skew_ms,
    roundMs: consensus.round_ms,
    recheckMs: consensus.recheck_ms,
    pollMs: chain.poll_ms,
    // The answer to a proposal must still be in time when its certificate comes late.
    grantWaitMs: Math.floor(signing.ack_ms / 2),
    attempts: { ...defaultAttemptSettings, slotMs: signing.slot_ms },
    timeouts,
    keygenTimeouts: { ...timeouts, roundMs: signing.keygen_round_ms, sessionMs: signing.keygen_session_ms },
    inventory: {
      target: presignatures.target,
      refillBelow: presignatures.refill_below,
      batch: presignatures.batch,
      checkMs: presignatures.check_ms,
    },
    audit: {
      fenceMs: config.audit.fence_ms,
      checkpointMs: config.audit.checkpoint_ms,
      checkpointEntries: config.audit.checkpoint_entries,
      anchorMs: config.audit.anchor_ms,
    },
  };
}

/** Who may cause a signature, as the manifest says. */
function authorisationOf(manifest: Manifest): Authorisation {
  if (manifest.authorisation === "quorum") return quorumAuthorisation;
  throw new CairnError(
    "config-invalid",
    `the manifest demands the authorisation ${manifest.authorisation}, which this version does not have; make the cluster with quorum`,
    { authorisation: manifest.authorisation },
  );
}

function hostPort(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}
