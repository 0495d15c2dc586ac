import { CairnError } from "@cairn/core";
import { nativeError } from "../../src/native-error.ts";

/** What the binding itself throws, in the words of the port. */
export async function typed<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof CairnError ? error : nativeError(error);
  }
}
