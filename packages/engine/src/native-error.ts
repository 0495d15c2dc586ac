import { CairnError, type ErrorCode, type NodeIndex, nodeIndexSchema } from "@cairn/core";
import type { NativeCode, NativeFailure } from "@cairn/native-engine";
import type { EngineFailure } from "@cairn/signing";
import { z } from "zod";

const toErrorCode = {
  malformed: "malformed",
  "invalid-round-message": "invalid-round-message",
  equivocation: "equivocation",
  "invalid-signature": "signing-failed",
  "invalid-partial": "invalid-partial",
  "presignature-used": "presignature-used",
  "presignature-mismatch": "presignature-mismatch",
  "sealed-blob-invalid": "sealed-blob-invalid",
  "vault-locked": "vault-locked",
  "file-mode": "file-mode",
  "file-missing": "file-missing",
  "file-exists": "file-exists",
  "no-primes": "busy",
  busy: "busy",
  closed: "closed",
  internal: "internal",
} as const satisfies Record<NativeCode, ErrorCode>;

const thrownSchema = z.object({ code: z.string(), message: z.string() });

function isNativeCode(code: string): code is NativeCode {
  return Object.hasOwn(toErrorCode, code);
}

/** The CairnError of something the native library threw. */
export function nativeError(thrown: unknown): CairnError {
  const parsed = thrownSchema.safeParse(thrown);
  if (parsed.success && isNativeCode(parsed.data.code)) {
    return new CairnError(toErrorCode[parsed.data.code], parsed.data.message);
  }
  if (isWrongArgument(thrown, parsed.data?.code ?? "")) {
    const words = "the native engine was called with an argument of a wrong type, or without one";
    return new CairnError("malformed", words, {}, { cause: thrown });
  }
  return new CairnError("internal", "the native engine refused a call", {}, { cause: thrown });
}

/** napi itself refuses an argument of a wrong type, or an object without a field, with codes of its own; nothing in place of an object without any. */
function isWrongArgument(thrown: unknown, code: string): boolean {
  return thrown instanceof TypeError || code === "InvalidArg" || code.endsWith("Expected");
}

/** The CairnError of a failure that the native library answered. `data.blamed` holds node indices. */
export function failureError(failure: NativeFailure): CairnError {
  return new CairnError(toErrorCode[failure.code], failure.message, { blamed: failure.blamed });
}

/** A session's failure in the terms of the port. */
export function engineFailure(failure: NativeFailure): EngineFailure {
  return {
    code: failureCode(failure.code),
    round: failure.round,
    blamed: failure.blamed.map((node): NodeIndex => nodeIndexSchema.parse(node)),
    message: failure.message,
  };
}

function failureCode(code: NativeCode): EngineFailure["code"] {
  switch (code) {
    case "invalid-round-message":
    case "equivocation":
    case "invalid-signature":
    case "sealed-blob-invalid":
    case "no-primes":
      return code;
    default:
      return "internal";
  }
}
