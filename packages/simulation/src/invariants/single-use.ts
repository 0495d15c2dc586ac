import { type PeerMessage, sha256Hex } from "@cairn/core";
import { decodeSessionMessage } from "@cairn/signing";
import type { Invariant } from "../invariant.ts";

/** No presignature and no nonce of an honest node serves twice: not over sessions, nor over restarts. */
export function singleUse(): Invariant {
  const burned = new Set<string>();
  const issued = new Set<string>();
  const executions = new Set<string>();
  const said = new Map<string, string>();
  const once = (seen: Set<string>, key: string): boolean => {
    const fresh = !seen.has(key);
    seen.add(key);
    return fresh;
  };
  return {
    name: "single-use",
    see(world, event) {
      if (!("node" in event) || !world.honest(event.node)) return null;
      const { node } = event;
      switch (event.kind) {
        case "burned":
          return once(burned, `${node}/${event.presignature}`)
            ? null
            : `node ${node} burned presignature ${event.presignature} twice`;
        case "partial-issued": {
          const key = `${node}/${event.input.receipt.presignatureId}`;
          if (!burned.has(key)) return `node ${node} issued a partial from ${key} before it was burned`;
          return once(issued, key) ? null : `node ${node} issued two partials from one presignature, ${key}`;
        }
        case "engine-started":
          return once(executions, `${node}/${event.spec.executionId}`)
            ? null
            : `node ${node} took part twice in execution ${event.spec.executionId}`;
        case "sent": {
          for (const [key, digest] of singleUseWords(event.message, String(event.to))) {
            const before = said.get(`${node}/${key}`);
            said.set(`${node}/${key}`, digest);
            if (before !== undefined && before !== digest) return `node ${node} said two things for ${key}`;
          }
          return null;
        }
        default:
          return null;
      }
    },
  };
}

/** Words that may be said only one way: what they are about, and their hash. */
function singleUseWords(message: PeerMessage, to: string): [string, string][] {
  if (message.kind === "partial") {
    const decoded = decodeSessionMessage("partial", message.payload);
    if (decoded.kind !== "partial") return [];
    const { presignature, partial } = decoded.signed.body;
    return [[`partial/${presignature}`, sha256Hex(partial)]];
  }
  if (message.kind === "round" && message.session !== null) {
    const decoded = decodeSessionMessage("round", message.payload);
    if (decoded.kind !== "round") return [];
    const { content } = decoded;
    const whom = content.type === "broadcast" ? "all" : to;
    return [[`round/${message.session}/${message.round}/${whom}`, sha256Hex(message.payload)]];
  }
  return [];
}
