import { isCairnError } from "@cairn/core";

/** Lets work go on that nobody waits for. What it fails with is reported, but for what the node's own stop refuses. */
export function unawaited(work: Promise<unknown>, report: (cause: unknown) => void): void {
  work.catch((cause: unknown) => {
    if (!isCairnError(cause, "closed")) report(cause);
  });
}
