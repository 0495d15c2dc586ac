import { type Change, type Constitution, changeQuorum, loosens } from "@cairn/core";

/** One place in which a change differs from what is in force. */
export interface ChangeLine {
  readonly field: string;
  readonly from: string;
  readonly to: string;
}

/** Exactly what a change changes, computed from the documents themselves. Lists that are sets tell what comes and goes. */
export function changeLines(change: Change, inForce: Constitution): readonly ChangeLine[] {
  switch (change.type) {
    case "manifest":
      return [
        ...differences("manifest", inForce.manifest, change.manifest),
        ...(change.policy === null ? [] : differences("policy", inForce.policy, change.policy)),
      ];
    case "ban-lift":
      return change.lift.violations.map((violation) => ({
        field: `ban of node ${change.lift.node}`,
        from: violation,
        to: "lifted",
      }));
    case "refresh":
      return [
        { field: `shares of key ${change.refresh.keyId}`, from: "", to: `epoch ${change.refresh.epoch}` },
      ];
  }
}

/** Whether a change allows what was forbidden, so that it waits for the manifest's delay. */
export function isLoosening(change: Change, inForce: Constitution): boolean {
  if (change.type !== "manifest") return change.type === "ban-lift";
  const policies = { current: inForce.policy, next: change.policy ?? inForce.policy };
  return loosens(inForce.manifest, change.manifest, policies);
}

/** When a change may take effect, and how many must agree, in words. */
export function changeTerms(change: Change, inForce: Constitution): readonly (readonly [string, string])[] {
  const at =
    change.type === "manifest"
      ? change.manifest.effectiveAt
      : change.type === "ban-lift"
        ? change.lift.effectiveAt
        : change.refresh.createdAt;
  const delay = `and ${inForce.manifest.changeDelayMs / 1000} s after each node first saw it`;
  return [
    ["kind", isLoosening(change, inForce) ? "loosens: waits" : "tightens: no delay"],
    ["not before", `${new Date(at).toISOString()}${isLoosening(change, inForce) ? `, ${delay}` : ""}`],
    ["needs", `${changeQuorum(change, inForce)} of ${inForce.manifest.members.length} operators`],
  ];
}

function differences(path: string, from: unknown, to: unknown): readonly ChangeLine[] {
  if (text(from) === text(to)) return [];
  if (isRecord(from) && isRecord(to)) {
    return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key) =>
      differences(`${path}.${key}`, from[key], to[key]),
    );
  }
  if (Array.isArray(from) && Array.isArray(to)) {
    if ([...from, ...to].some((item) => typeof item === "object")) {
      return Array.from({ length: Math.max(from.length, to.length) }, (_, at) =>
        differences(`${path}[${at + 1}]`, from[at], to[at]),
      ).flat();
    }
    const [gone, come] = [
      from.filter((item) => !to.includes(item)),
      to.filter((item) => !from.includes(item)),
    ];
    const moved = gone.length === 0 && come.length === 0;
    return moved
      ? [{ field: path, from: text(from), to: text(to) }]
      : [
          {
            field: path,
            from: gone.map((item) => `-${text(item)}`).join(" "),
            to: come.map((item) => `+${text(item)}`).join(" "),
          },
        ];
  }
  return [{ field: path, from: text(from), to: text(to) }];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  if (value === undefined || value === null) return "none";
  if (typeof value === "string" || typeof value === "bigint") return String(value);
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? item.toString() : item));
}
