import { type AlertKind, alertKinds } from "@cairn/client";
import type { Clock, Timer, UnixMs } from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";
import { alertWords } from "./alert-words.ts";

/** Something that needs an operator's attention, as it is now. */
export interface AlertFact {
  readonly kind: AlertKind;
  /** Index of a node, id of a key or proposal, …; what this node itself has has its own index. */
  readonly subject: string;
  /** When it began; null where nothing keeps that: then it began when it was first seen. */
  readonly since: UnixMs | null;
  /** What tells this one from others of its kind. Never secrets. */
  readonly data: NodeEvent["data"];
}

/** Looks at one part of the node. Keeps nothing: what it no longer answers is over. */
export type AlertSource = () => readonly AlertFact[] | Promise<readonly AlertFact[]>;

export interface Alert extends AlertFact {
  readonly since: UnixMs;
}

export interface AlertDeskModules {
  readonly sources: readonly AlertSource[];
  readonly clock: Clock;
  /** An alert is there now that was not at the last look, or is over. */
  readonly changed: (alert: Alert, state: "raised" | "cleared") => void;
  readonly report: (cause: unknown) => void;
}

const LOOK_MS = 30_000;

/**
 * Everything that needs an operator's attention, in one place. It is gathered anew at each look from what the node's parts know; nothing
 * is kept but when a thing was first seen.
 */
export class AlertDesk {
  readonly #modules: AlertDeskModules;
  /** What each source said last: one that fails must not seem to say that all is well. */
  readonly #said = new Map<AlertSource, readonly AlertFact[]>();
  readonly #seen = new Map<string, UnixMs>();
  #alerts: ReadonlyMap<string, Alert> = new Map();
  #looking: Promise<readonly Alert[]> | null = null;
  #timer: Timer | null = null;
  #closed = false;

  constructor(modules: AlertDeskModules) {
    this.#modules = modules;
  }

  /** Looks now and then from now on, so that what changes is told though nobody asks. */
  start(): void {
    if (this.#closed) return;
    this.look().catch(this.#modules.report);
    this.#timer = this.#modules.clock.after(LOOK_MS, () => this.start());
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** What there is now, the most urgent kind first, the oldest of a kind first. */
  look(): Promise<readonly Alert[]> {
    this.#looking ??= this.#gather().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  /** Number of alerts of each kind at the last look. */
  counts(): ReadonlyMap<AlertKind, number> {
    const counts = new Map(alertKinds.map((kind): [AlertKind, number] => [kind, 0]));
    for (const { kind } of this.#alerts.values()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  async #gather(): Promise<readonly Alert[]> {
    const { sources, clock, changed, report } = this.#modules;
    for (const source of sources) {
      try {
        this.#said.set(source, await source());
      } catch (cause) {
        report(cause);
      }
    }
    const now = clock.now();
    const facts = new Map([...this.#said.values()].flat().map((fact) => [keyOf(fact), fact] as const));
    for (const key of this.#seen.keys()) if (!facts.has(key)) this.#seen.delete(key);
    const alerts = new Map<string, Alert>();
    for (const [key, fact] of facts) {
      if (!this.#seen.has(key)) this.#seen.set(key, fact.since ?? now);
      const since = fact.since ?? this.#seen.get(key) ?? now;
      if (now - since >= alertWords[fact.kind].patienceMs) alerts.set(key, { ...fact, since });
    }
    const before = this.#alerts;
    this.#alerts = alerts;
    if (!this.#closed) {
      for (const [key, alert] of alerts) if (!before.has(key)) changed(alert, "raised");
      for (const [key, alert] of before) if (!alerts.has(key)) changed(alert, "cleared");
    }
    return [...alerts.values()].toSorted((a, b) => rank(a) - rank(b) || a.since - b.since);
  }
}

function keyOf({ kind, subject }: AlertFact): string {
  return `${kind}/${subject}`;
}

function rank({ kind }: AlertFact): number {
  return alertKinds.indexOf(kind);
}
