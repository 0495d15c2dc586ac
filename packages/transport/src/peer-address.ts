import { CairnError } from "@cairn/core";

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `tcp://host:port`; IPv6 hosts stand in brackets.
 * @throws CairnError `config-invalid`
 */
export function parsePeerAddress(text: string): PeerAddress {
  const url = URL.parse(text);
  const plain =
    url !== null && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (!plain || url.protocol !== "tcp:" || !["", "/"].includes(url.pathname) || url.hostname === "") {
    throw new CairnError("config-invalid", "a peer address has the form tcp://host:port", { address: text });
  }
  const port = Number(url.port);
  if (url.port === "" || port === 0) {
    throw new CairnError("config-invalid", "a peer address must name its port: tcp://host:port", {
      address: text,
    });
  }
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port };
}
