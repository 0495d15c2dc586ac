import type { Courier, NodeIndex, PeerMessage } from "@cairn/core";

/** A courier of whose messages `hear` learns as they are sent or posted; all goes as it would without. */
export function overheard(
  courier: Courier,
  hear: (message: PeerMessage, to: NodeIndex, how: "sent" | "posted") => void,
): Courier {
  return {
    start: (handler) => courier.start(handler),
    send: (to, message) => {
      hear(message, to, "sent");
      courier.send(to, message);
    },
    posting: (to, id, message) => {
      hear(message, to, "posted");
      return courier.posting(to, id, message);
    },
    kick: (committed) => courier.kick(committed),
    peers: () => courier.peers(),
    setRefused: (refused) => courier.setRefused(refused),
    useSealingKeys: (session, keys) => courier.useSealingKeys(session, keys),
    close: () => courier.close(),
  };
}
