import { CairnError } from "@cairn/core";
import {
  EtcdAuthenticationFailedError,
  EtcdPermissionDeniedError,
  GRPCDeadlineExceededError,
  GRPCUnauthenticatedError,
} from "etcd3";

/** What went wrong between this process and etcd, in Cairn's words; its text may name hosts, never credentials. */
export function etcdFailure(cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  if (cause instanceof GRPCDeadlineExceededError) {
    return new CairnError(
      "timeout",
      "etcd did not answer in time; is one of its members cut off?",
      {},
      { cause },
    );
  }
  if (
    cause instanceof EtcdAuthenticationFailedError ||
    cause instanceof EtcdPermissionDeniedError ||
    cause instanceof GRPCUnauthenticatedError
  ) {
    return new CairnError(
      "forbidden",
      "etcd refuses this user; check coordination.user, its password file and the rights of its role",
      {},
      { cause },
    );
  }
  return new CairnError(
    "peer-unreachable",
    "no member of etcd can be asked; check coordination.endpoints and that a majority of them runs",
    {},
    { cause },
  );
}
