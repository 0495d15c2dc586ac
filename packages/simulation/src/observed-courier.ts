import type { Courier, NodeIndex } from "@cairn/core";
import type { Observer } from "./observation.ts";
import type { Life } from "./virtual-time.ts";

/** A courier whose messages are seen as they leave. A dead node's are neither seen nor sent. */
export function observedCourier(node: NodeIndex, courier: Courier, life: Life, observe: Observer): Courier {
  return {
    start: (handler) => courier.start(handler),
    send: (to, message) => {
      if (!life.alive) return;
      observe({ kind: "sent", node, to, message });
      courier.send(to, message);
    },
    posting: (to, id, message) => courier.posting(to, id, message),
    kick: (committed) => courier.kick(committed),
    peers: () => courier.peers(),
    setRefused: (refused) => courier.setRefused(refused),
    useSealingKeys: (session, keys) => courier.useSealingKeys(session, keys),
    close: () => courier.close(),
  };
}
