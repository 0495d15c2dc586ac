import type { TLSSocket } from "node:tls";
import {
  CairnError,
  type Manifest,
  memberOf,
  type NodeIndex,
  type Nonce,
  type Signer,
  toHex,
} from "@cairn/core";
import { type FrameSocket, frameTypes, type TypedFrame } from "./frame-socket.ts";
import { commonVersion, decodeRefusal, encodeHello, type Hello, openHello } from "./hello.ts";

/** Label of the keying material that binds a HELLO to its TLS connection. */
const EXPORTER_LABEL = "EXPORTER-cairn-hello-v1";

/** Who this node is in a HELLO. */
export interface HandshakeSelf {
  readonly me: NodeIndex;
  readonly boot: Nonce;
  readonly epoch: number;
  readonly protocolVersions: readonly number[];
  readonly manifest: Manifest;
  readonly signer: Signer;
}

export interface Handshake {
  readonly hello: Hello;
  readonly protocolVersion: number;
}

/** What both sides of one TLS connection can compute and nobody else. */
export function channelBinding(socket: TLSSocket): string {
  return toHex(socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)));
}

/**
 * The dialer's part: HELLO, then the listener's HELLO, which says that ours was accepted, then READY once `keep` agrees.
 * @throws CairnError what the peer or this node refused
 */
export async function greetListener(
  frames: FrameSocket,
  binding: string,
  peer: NodeIndex,
  self: HandshakeSelf,
  keep: (hello: Hello) => void,
): Promise<Handshake> {
  await frames.write(frameTypes.hello, ownHello(self, peer, "dialer", binding));
  const handshake = check(await expectFrame(frames, frameTypes.hello), binding, peer, self, "listener");
  keep(handshake.hello);
  await frames.write(frameTypes.ready, new Uint8Array());
  return handshake;
}

/** The listener's part: the dialer's HELLO, ours once `keep` agrees, then its READY. */
export async function greetDialer(
  frames: FrameSocket,
  binding: string,
  peer: NodeIndex,
  self: HandshakeSelf,
  keep: (hello: Hello) => void,
): Promise<Handshake> {
  const handshake = check(await expectFrame(frames, frameTypes.hello), binding, peer, self, "dialer");
  keep(handshake.hello);
  frames.widenAtReady();
  await frames.write(frameTypes.hello, ownHello(self, peer, "listener", binding));
  await expectFrame(frames, frameTypes.ready);
  return handshake;
}

function ownHello(self: HandshakeSelf, to: NodeIndex, role: Hello["role"], binding: string): Uint8Array {
  return encodeHello(
    {
      version: 1,
      cluster: self.manifest.cluster,
      from: self.me,
      to,
      role,
      boot: self.boot,
      epoch: self.epoch,
      protocolVersions: [...self.protocolVersions],
      binding: binding as Hello["binding"],
    },
    self.signer,
  );
}

function check(
  encoded: Uint8Array,
  binding: string,
  peer: NodeIndex,
  self: HandshakeSelf,
  role: Hello["role"],
): Handshake {
  const hello = openHello(encoded, {
    cluster: self.manifest.cluster,
    from: peer,
    me: self.me,
    role,
    binding,
    senderKey: memberOf(self.manifest, peer).identity,
  });
  return { hello, protocolVersion: commonVersion(self.protocolVersions, hello.protocolVersions) };
}

async function expectFrame(frames: FrameSocket, type: number): Promise<Uint8Array> {
  const frame = await frames.next();
  if (frame.type === type) return frame.body;
  throw refusalIn(frame) ?? new CairnError("handshake-failed", "the peer did not keep to the order of HELLO");
}

/** The error that a refusal frame carries, or null for other frames. */
export function refusalIn(frame: TypedFrame): CairnError | null {
  if (frame.type !== frameTypes.refusal) return null;
  const told = decodeRefusal(frame.body);
  switch (told) {
    case "NodeBanned":
    case "unsupported-version":
    case "wrong-cluster":
    case "not-member":
    case "wrong-recipient":
    case "certificate-refused":
    case "certificate-expired":
    case "not-yet-valid":
    case "closed":
    case "session-conflict":
      return new CairnError(told, "the peer refused the connection", { told });
    default:
      return new CairnError("handshake-failed", "the peer refused the connection", { told });
  }
}
