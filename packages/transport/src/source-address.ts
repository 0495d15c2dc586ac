import { isIPv6, SocketAddress } from "node:net";

const MAPPED = "::ffff:";

/** One spelling for each address that a connection can come from: a socket that listens for IPv6 names IPv4 addresses in a form of its own. */
export function sourceAddress(text: string): string {
  if (!isIPv6(text)) return text;
  const [unscoped = ""] = text.split("%");
  const { address } = new SocketAddress({ address: unscoped, family: "ipv6" });
  return address.startsWith(MAPPED) && address.includes(".") ? address.slice(MAPPED.length) : address;
}
