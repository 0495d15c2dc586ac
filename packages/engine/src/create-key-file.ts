import { loadNative } from "./load-native.ts";
import { nativeError } from "./native-error.ts";

/**
 * Makes a key-encryption key file: 32 bytes of the system's generator, mode 0600. The bytes never enter JavaScript.
 * @throws CairnError `file-exists` rather than overwriting a key, `file-mode`, `native-missing`
 */
export async function createKeyFile(path: string): Promise<void> {
  const native = await loadNative();
  try {
    native.createKeyFile(path);
  } catch (error) {
    throw nativeError(error);
  }
}
