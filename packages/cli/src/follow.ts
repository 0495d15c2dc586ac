import type { CairnClient, CairnEvent } from "@cairn/client";
import { CairnError, errorCodes, isCairnError } from "@cairn/core";
import type { CliModules } from "./cli-modules.ts";

export interface FollowOptions<T> {
  /** Reads what is followed. */
  readonly read: () => Promise<T>;
  /** Whether an event means that it is worth reading again. */
  readonly concerns: (event: CairnEvent) => boolean;
  /** Longest time to wait, in milliseconds, or null to wait until it ends. */
  readonly timeoutMs: number | null;
  /** Called while no node answers, so that the person knows. */
  readonly unreachable: (error: CairnError) => void;
}

/** A node that restarts or is overloaded comes back; whatever else fails would fail again. Exit status 75 is EX_TEMPFAIL. */
const TEMPORARY_EXIT = 75;
/** Readings that may fail one after another before waiting ends. */
const MAX_FAILURES = 30;

/**
 * What `read` says, now and whenever an event concerns it; while events can't be had, and in any case from time to time, it is
 * read again. Ends when the caller stops listening.
 * @throws CairnError `timeout`; what `read` throws, unless that is temporary
 */
export async function* follow<T>(
  options: FollowOptions<T>,
  modules: Pick<CliModules, "sleep" | "signal" | "pollMs" | "clock"> & { readonly client: CairnClient },
): AsyncGenerator<T> {
  const { read, concerns, timeoutMs, unreachable } = options;
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, modules.signal]);
  const bell = new Bell();
  const deadline = timeoutMs === null ? null : modules.clock.now() + timeoutMs;
  const listening = listen(bell, concerns, signal, modules);
  let failures = 0;
  try {
    while (!signal.aborted) {
      const rung = bell.next();
      try {
        const value = await read();
        failures = 0;
        yield value;
      } catch (error) {
        const temporary = isCairnError(error) && errorCodes[error.code].exit === TEMPORARY_EXIT;
        if (!temporary || ++failures > MAX_FAILURES) throw error;
        unreachable(error);
      }
      const left = deadline === null ? modules.pollMs : deadline - modules.clock.now();
      if (left <= 0) {
        throw new CairnError(
          "timeout",
          "the wait is over and it is not done; it goes on without this command",
          {
            timeoutMs: timeoutMs ?? 0,
          },
        );
      }
      const nap = new AbortController();
      await Promise.race([
        rung,
        modules.sleep(Math.min(modules.pollMs, left), AbortSignal.any([signal, nap.signal])),
      ]);
      nap.abort();
    }
    throw new CairnError("closed", "interrupted; what was asked for goes on without this command");
  } finally {
    ended.abort();
    bell.ring();
    await listening;
  }
}

/** Rings for each event that concerns the caller. Events only save time: whatever goes wrong here, polling goes on. */
async function listen(
  bell: Bell,
  concerns: (event: CairnEvent) => boolean,
  signal: AbortSignal,
  modules: Pick<CliModules, "sleep" | "pollMs"> & { readonly client: CairnClient },
): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const event of modules.client.events(signal)) if (concerns(event)) bell.ring();
    } catch {
      // No stream: the reading of every pollMs serves, and tells what is wrong with the node.
    }
    await modules.sleep(modules.pollMs, signal);
  }
}

/** Wakes who waits for the next ring. */
class Bell {
  #resolve: (() => void) | null = null;

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  ring(): void {
    this.#resolve?.();
  }
}
