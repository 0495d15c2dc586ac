import type { ErrorCode, ErrorData } from "@cairn/core";

/**
 * A {@link CairnError} to be, inside a database's thread. Classes do not survive the way between threads, and a thread
 * without the rest of Cairn starts in a tenth of the time.
 */
export class StorageRefusal extends Error {
  readonly code: ErrorCode;
  readonly data: ErrorData;

  constructor(code: ErrorCode, message: string, data: ErrorData, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.data = data;
  }
}
