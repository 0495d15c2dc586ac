import type { CounterFactory } from "@cairn/transport";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** Current values that metrics are read from at each scrape. */
export interface MetricSources {
  peersUp(): number;
  tipHeight(): number | null;
  burnCounter(): Promise<number>;
  auditLength(): Promise<number>;
  primesReady(): Promise<number>;
  presignatures(): Promise<
    readonly { readonly keyId: string; readonly ready: number; readonly usable: number }[]
  >;
  bansInForce(): number;
  /** Whether the node takes part in nothing until its peers have told it what it forgot. */
  abstains(): boolean;
  /** Peers that have told all they hold since this process began. */
  peersWhole(): number;
  eventClients(): number;
  /** Alerts of each kind, also of those that there are none of. */
  alerts(): ReadonlyMap<string, number>;
}

/** The node's metrics and the registry that holds them. Documented by their help texts. */
export interface NodeMetrics {
  readonly registry: Registry;
  /** For packages that count through a factory. */
  readonly counters: CounterFactory;
  request(route: string, method: string, status: number, seconds: number): void;
  event(type: string, state: string): void;
  error(code: string): void;
  /** Reads gauges from `sources` at every scrape from now on. */
  observe(sources: MetricSources): void;
}

/** Metrics in a registry of their own, so that several nodes of one process don't share them. */
export function createMetrics(): NodeMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: "cairn_api_requests",
    help: "API requests that were answered",
    labelNames: ["route", "method", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "cairn_api_request_seconds",
    help: "Time from an API request to the end of its answer",
    labelNames: ["route"],
    buckets: [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15],
    registers,
  });
  const events = new Counter({
    name: "cairn_events",
    help: "Events of the node: what changed, and into which state",
    labelNames: ["type", "state"],
    registers,
  });
  const errors = new Counter({
    name: "cairn_background_errors",
    help: "Failures of work that nobody waits for, by error code",
    labelNames: ["code"],
    registers,
  });
  const gauge = (name: string, help: string, read: (gauge: Gauge) => void | Promise<void>) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        await read(this);
      },
    });

  return {
    registry,
    counters: {
      counter(name, help, labelNames) {
        const counter = new Counter({ name, help, labelNames: [...labelNames], registers });
        return { inc: (labels, value = 1) => counter.inc(labels, value) };
      },
    },
    request(route, method, status, elapsed) {
      requests.inc({ route, method, status });
      seconds.observe({ route }, elapsed);
    },
    event: (type, state) => events.inc({ type, state }),
    error: (code) => errors.inc({ code }),
    observe(sources) {
      gauge("cairn_peers_up", "Peers whose connection is up", (it) => it.set(sources.peersUp()));
      gauge(
        "cairn_chain_tip_height",
        "Height of the best block at the last look; -1 before the first",
        (it) => it.set(sources.tipHeight() ?? -1),
      );
      gauge("cairn_burn_counter", "Presignatures burned in the life of the database", async (it) =>
        it.set(await sources.burnCounter()),
      );
      gauge("cairn_audit_entries", "Entries of the audit log", async (it) =>
        it.set(await sources.auditLength()),
      );
      gauge("cairn_primes_ready", "Safe primes in stock", async (it) => it.set(await sources.primesReady()));
      gauge("cairn_bans_in_force", "Nodes that are banned now", (it) => it.set(sources.bansInForce()));
      gauge(
        "cairn_sync_abstains",
        "1 while the node lost its database and asks its peers what it held",
        (it) => it.set(sources.abstains() ? 1 : 0),
      );
      gauge("cairn_sync_peers_whole", "Peers that have told all they hold since the daemon started", (it) =>
        it.set(sources.peersWhole()),
      );
      gauge("cairn_event_clients", "Clients that follow the event stream", (it) =>
        it.set(sources.eventClients()),
      );
      new Gauge({
        name: "cairn_alerts",
        help: "What needs an operator's attention, by kind: `cairn cluster alerts` says what to do",
        labelNames: ["kind"],
        registers,
        collect() {
          for (const [kind, count] of sources.alerts()) this.set({ kind }, count);
        },
      });
      new Gauge({
        name: "cairn_presignatures",
        help: "Presignatures in stock, by key: ready, and usable with the peers that are up",
        labelNames: ["key", "stock"],
        registers,
        async collect() {
          this.reset();
          for (const { keyId, ready, usable } of await sources.presignatures()) {
            this.set({ key: keyId, stock: "ready" }, ready);
            this.set({ key: keyId, stock: "usable" }, usable);
          }
        },
      });
    },
  };
}
