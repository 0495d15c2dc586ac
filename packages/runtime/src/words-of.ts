import type { NodeIndex } from "@cairn/core";

interface Word {
  readonly node: NodeIndex;
  readonly approve: boolean;
  readonly reason: string | null;
}

/** Who approved, and who refused why, as text for the audit log, events and alerts: votes on a change, or approvals of a key. */
export function wordsOf(signed: Iterable<{ readonly body: Word }>): {
  readonly approved: string;
  readonly refused: string;
} {
  const words = [...signed].map(({ body }) => body).toSorted((a, b) => a.node - b.node);
  return {
    approved: words
      .filter(({ approve }) => approve)
      .map(({ node }) => node)
      .join(","),
    refused: words.flatMap(({ node, reason }) => (reason === null ? [] : [`${node}:${reason}`])).join(","),
  };
}
