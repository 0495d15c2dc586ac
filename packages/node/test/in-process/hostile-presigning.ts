import { type NodeIndex, signBody } from "@cairn/core";
import { hostileMessage } from "@cairn/runtime/test-support";
import {
  encodeSessionMessage,
  initiatorOrder,
  makeProposal,
  type PresignJob,
  presignSubject,
} from "@cairn/signing";
import type { HostileScene } from "./hostile-scene.ts";

/** The check interval of the inventory of in-process clusters. */
const checkMs = 1_000;

/** Has the hostile node ask signers for `count` presigning jobs at once, each for another path, each in an attempt that is its to open. */
export function floodPresigning(scene: HostileScene, signers: readonly NodeIndex[], count: number): void {
  const { hostile, cluster, record } = scene;
  for (let index = 0; index < count; index += 1) {
    const job: PresignJob = {
      version: 1,
      cluster: cluster.manifest.cluster,
      keyId: record.keyId,
      epoch: 0,
      signers: [...signers],
      paths: [[0, index]],
      slot: Math.floor(Date.now() / checkMs),
    };
    const { subject, orderBy, nonce } = presignSubject(job, checkMs);
    const proposal = makeProposal({
      cluster: job.cluster,
      purpose: "presign",
      subject,
      stage: null,
      job,
      attempt: initiatorOrder(orderBy, nonce, signers).indexOf(hostile.index),
      initiator: hostile.index,
      signers: job.signers,
      protocolVersion: 1,
      items: null,
    });
    const signed = signBody("cairn/proposal/v1", proposal, cluster.signerOf(hostile.index));
    const payload = encodeSessionMessage({ kind: "proposal", signed });
    for (const to of signers) {
      if (to !== hostile.index) hostile.send(to, hostileMessage("proposal", payload, proposal.sessionId));
    }
  }
}
