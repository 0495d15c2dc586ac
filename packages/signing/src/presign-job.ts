import {
  bodyHash,
  clusterIdSchema,
  type ExecutionId,
  type HashHex,
  type KeyPath,
  keyIdSchema,
  keyPathSchema,
  nodeIndexSchema,
  type PresignatureId,
} from "@cairn/core";
import { z } from "zod";
import { isAscending } from "./ascending.ts";

/** Most presignatures that one job makes. */
export const MAX_PRESIGN_ITEMS = 64;

/** A batch of presignatures to be made by exactly these signers, each for a path that is fixed here (eprint 2021/1330). */
export const presignJobSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  keyId: keyIdSchema,
  /** Of the key. */
  epoch: z.number().int().min(0),
  /** Exactly t, ascending. */
  signers: z
    .array(nodeIndexSchema)
    .min(2)
    .max(255)
    .refine(isAscending, "signers must stand in ascending order, each once"),
  /** One presignature for each; a path may stand here several times. */
  paths: z.array(keyPathSchema).min(1).max(MAX_PRESIGN_ITEMS),
  /** ⌊time of planning / check interval⌋: gives the order of initiators and ends the job's validity. */
  slot: z.number().int().min(0),
});
export type PresignJob = z.output<typeof presignJobSchema>;

/** The subject of the job's sessions. */
export function presignJobHash(job: PresignJob): HashHex {
  return bodyHash<HashHex>("cairn/presign-job/v1", job);
}

/**
 * The presignature that item `item` of a job gets in one execution. Two executions never share an id, so an id never names
 * two presignatures, whoever starts what.
 */
export function presignatureIdOf(job: PresignJob, execution: ExecutionId, item: number): PresignatureId {
  const path: KeyPath | undefined = job.paths[item];
  return bodyHash<PresignatureId>("cairn/presignature/v1", {
    job: presignJobHash(job),
    execution,
    item,
    keyId: job.keyId,
    epoch: job.epoch,
    path: path ?? null,
    signers: job.signers,
  });
}
