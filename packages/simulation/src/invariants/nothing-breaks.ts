import { isCairnError } from "@cairn/core";
import type { Invariant } from "../invariant.ts";

/** No honest node meets an error that its code did not foresee. */
export function nothingBreaks(): Invariant {
  return {
    name: "nothing-breaks",
    see(world, event) {
      if (event.kind !== "reported" || !world.honest(event.node)) return null;
      const { cause } = event;
      if (isCairnError(cause) && cause.code !== "internal") return null;
      return `node ${event.node} met ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`;
    },
  };
}
