import { CairnError } from "@cairn/core";
import type { NativeBinding } from "@cairn/native-engine";

/**
 * Loads the full-level binary when it is first needed, so that programs without an engine start without it.
 * @throws CairnError `native-missing`
 */
export async function loadNative(): Promise<NativeBinding> {
  try {
    const { native } = await import("@cairn/native-engine");
    return native;
  } catch (cause) {
    throw new CairnError(
      "native-missing",
      "the engine's native library is missing or was built for another machine: run make build",
      {},
      { cause },
    );
  }
}
