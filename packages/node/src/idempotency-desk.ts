import { CairnError, type Clock, type HashHex, type NodeStore, type Timer, unixMsSchema } from "@cairn/core";

/** An answer that a retry gets again, byte for byte. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  /** It was given before. */
  readonly replayed: boolean;
}

/**
 * Text that an execution makes up (a nonce, a time), made durable before it is used: a retry after a crash goes on with the same
 * text, so that it is the same request.
 */
export type Prepare = (make: () => string) => Promise<string>;

export interface IdempotentCall {
  /** The caller: hash of the token. */
  readonly scope: string;
  readonly key: string;
  /** SHA-256 of what is asked for. */
  readonly request: HashHex;
}

/** Time between two looks for rows that are old enough to be deleted. */
const EXPIRY_LOOK_MS = 3_600_000;

/** Status of a row whose execution has prepared, and not yet succeeded. */
const UNDER_WAY = 0;

/**
 * Carries out each (scope, key) once. The same request with the same key gets the stored answer, also after a restart; two at once
 * share one execution; another request with the key is refused. Failures are not kept: a retry tries again. What is older than
 * `keepMs` is deleted, and its key is free again.
 */
export class IdempotencyDesk {
  readonly #store: Pick<NodeStore, "idempotency" | "commit">;
  readonly #clock: Clock;
  readonly #keepMs: number;
  readonly #report: (cause: unknown) => void;
  #timer: Timer | null = null;
  #closed = false;
  readonly #running = new Map<string, { readonly request: HashHex; readonly answer: Promise<Answer> }>();

  constructor(
    options: { readonly keepMs: number },
    modules: {
      readonly store: Pick<NodeStore, "idempotency" | "commit">;
      readonly clock: Clock;
      readonly report: (cause: unknown) => void;
    },
  ) {
    this.#keepMs = options.keepMs;
    this.#store = modules.store;
    this.#clock = modules.clock;
    this.#report = modules.report;
    void this.#expire();
  }

  /** Ends the looks for old rows. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** @throws CairnError `idempotency-conflict`, `malformed` for an impossible key, and whatever `execute` throws */
  async run(
    call: IdempotentCall,
    execute: (prepare: Prepare) => Promise<{ readonly status: number; readonly body: string }>,
  ): Promise<Answer> {
    if (!/^[\x21-\x7e]{1,128}$/.test(call.key)) {
      throw new CairnError("malformed", "Idempotency-Key must be 1 to 128 visible ASCII characters");
    }
    const name = `${call.scope} ${call.key}`;
    const running = this.#running.get(name);
    if (running !== undefined) {
      if (running.request !== call.request) throw conflict();
      return { ...(await running.answer), replayed: true };
    }
    const answer = this.#execute(call, execute).finally(() => this.#running.delete(name));
    this.#running.set(name, { request: call.request, answer });
    return answer;
  }

  async #execute(
    call: IdempotentCall,
    execute: (prepare: Prepare) => Promise<{ readonly status: number; readonly body: string }>,
  ): Promise<Answer> {
    const found = await this.#store.idempotency(call.scope, call.key);
    // What waits to be deleted counts no longer, so that the time does not depend on when that happens.
    const known = found !== null && found.createdAt >= this.#clock.now() - this.#keepMs ? found : null;
    if (known !== null && known.request !== call.request) throw conflict();
    if (known !== null && known.status !== UNDER_WAY) {
      return { status: known.status, body: known.response, replayed: true };
    }
    const prepare: Prepare = async (make) => {
      if (known !== null) return known.response;
      const text = make();
      await this.#write(call, UNDER_WAY, text);
      return text;
    };
    const { status, body } = await execute(prepare);
    await this.#write(call, status, body);
    return { status, body, replayed: false };
  }

  async #expire(): Promise<void> {
    const before = unixMsSchema.parse(Math.max(0, this.#clock.now() - this.#keepMs));
    await this.#store.commit([{ write: "idempotency-expiry", before }]).catch(this.#report);
    if (this.#closed) return;
    this.#timer = this.#clock.after(EXPIRY_LOOK_MS, () => void this.#expire());
  }

  #write(call: IdempotentCall, status: number, response: string): Promise<void> {
    const row = { ...call, status, response, createdAt: this.#clock.now() };
    return this.#store.commit([{ write: "idempotency", row }]);
  }
}

function conflict(): CairnError {
  return new CairnError(
    "idempotency-conflict",
    "this Idempotency-Key was used for another request; use a new key for a new request",
  );
}
