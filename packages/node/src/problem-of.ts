import type { Problem } from "@cairn/client";
import { CairnError, errorCodes, isCairnError } from "@cairn/core";

/** The problem document (RFC 9457) of an error, for the request `instance`. What is no CairnError is `internal`, without details. */
export function problemOf(error: unknown, instance: string): Problem {
  const known = isCairnError(error) ? error : frameworkError(error);
  const { code, message, data } =
    known ??
    new CairnError("internal", "the node failed; its log says why, under the id given as `instance`");
  return {
    type: `urn:cairn:error:${code}`,
    title: titleOf(code),
    status: errorCodes[code].http,
    detail: message,
    instance,
    code,
    data: { ...data },
  };
}

/** `insufficient-funds` as people read it. */
function titleOf(code: string): string {
  const words = code === "NodeBanned" ? "node banned" : code.replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Errors that the web framework itself raises for bad requests. */
function frameworkError(error: unknown): CairnError | null {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return null;
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new CairnError("too-large", "the body is larger than api.max_body_bytes allows; send less");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new CairnError("malformed", "the body must be JSON, with content-type: application/json");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new CairnError("malformed", "content-length is not the length of the body");
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new CairnError("malformed", "the address of the request is not a valid URL path");
    default:
      return null;
  }
}
