import description from "../package.json" with { type: "json" };

/** Version of this software, as its package says. */
export const softwareVersion: string = description.version;

/** Versions of the peer protocol that this software speaks, ascending. */
export const protocolVersions: readonly number[] = [1];
