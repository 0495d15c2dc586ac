import { loadNative } from "./load-native.ts";
import { type OpenEngineOptions, type OpenedEngine, openEngine } from "./open-engine.ts";

/**
 * Opens the engine of one node at the security level of production, and the vault with it.
 * @throws CairnError `native-missing`, `vault-locked`, `file-mode`, `file-missing`, `malformed`
 */
export async function createEngine(options: OpenEngineOptions): Promise<OpenedEngine> {
  return openEngine(await loadNative(), options);
}
