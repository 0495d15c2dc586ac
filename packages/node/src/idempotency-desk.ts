import { CairnError, type Clock, type HashHex, type NodeStore } from "@cairn/core";

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

/** Status of a row whose execution has prepared, and not yet succeeded. */
const UNDER_WAY = 0;

/**
 * Carries out each (scope, key) once. The same request with the same key gets the stored answer, also after a restart; two at once
 * share one execution; another request with the key is refused. Failures are not kept: a retry tries again.
 */
export class IdempotencyDesk {
  readonly #store: Pick<NodeStore, "idempotency" | "commit">;
  readonly #clock: Clock;
  readonly #running = new Map<string, { readonly request: HashHex; readonly answer: Promise<Answer> }>();

  constructor(modules: { readonly store: Pick<NodeStore, "idempotency" | "commit">; readonly clock: Clock }) {
    this.#store = modules.store;
    this.#clock = modules.clock;
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
    const known = await this.#store.idempotency(call.scope, call.key);
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
