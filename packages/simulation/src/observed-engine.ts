import type { NodeIndex } from "@cairn/core";
import type { Engine } from "@cairn/signing";
import type { Observer } from "./observation.ts";
import type { Life } from "./virtual-time.ts";

/** An engine whose use is seen. A dead node's sessions say nothing more. */
export function observedEngine(node: NodeIndex, engine: Engine, life: Life, observe: Observer): Engine {
  return {
    level: engine.level,
    start(spec, listener) {
      observe({ kind: "engine-started", node, spec });
      const whileAlive = (call: () => void): void => {
        if (life.alive) call();
      };
      return engine.start(spec, {
        send: (message) => whileAlive(() => listener.send(message)),
        progress: (progress) => whileAlive(() => listener.progress(progress)),
        done: (result) =>
          whileAlive(() => {
            if (result.kind === "frost-sign" || result.kind === "cggmp24-sign")
              observe({ kind: "signatures", node, spec, signatures: result.signatures });
            listener.done(result);
          }),
        failed: (failure) => whileAlive(() => listener.failed(failure)),
      });
    },
    async issuePartial(input) {
      const partial = await engine.issuePartial(input);
      observe({ kind: "partial-issued", node, input, partial });
      return partial;
    },
    combinePartials: (input) => engine.combinePartials(input),
    verify: (input) => engine.verify(input),
    describe: (publicPackage) => engine.describe(publicPackage),
    primes: () => engine.primes(),
    close: () => engine.close(),
  };
}
