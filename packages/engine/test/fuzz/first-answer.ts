import type { Engine, EngineSession, EngineSpec } from "@cairn/signing";
import { sessionRefusal } from "./session-refusal.ts";

/** Milliseconds that a session may take to answer one message. */
const PATIENCE_MS = 20_000;

/** Starts a session, gives it what `feed` gives, and answers what it sends in `round` or later; rejects if it fails. */
export async function firstAnswer(
  engine: Pick<Engine, "start">,
  spec: EngineSpec,
  round: number,
  feed: (session: EngineSession) => void = () => undefined,
): Promise<Uint8Array> {
  let session: EngineSession | undefined;
  let patience: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Uint8Array>((resolve, reject) => {
      patience = setTimeout(() => reject(new Error("the session neither answers nor fails")), PATIENCE_MS);
      session = engine.start(spec, {
        send: (message) => message.round >= round && resolve(message.payload),
        progress() {},
        done: () => reject(new Error("one message can't end a session well")),
        failed: (failure) => reject(sessionRefusal(failure)),
      });
      feed(session);
    });
  } finally {
    clearTimeout(patience);
    session?.cancel();
  }
}
