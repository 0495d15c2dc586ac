/**
 * Seals this node's secrets at rest under its key-encryption key. Key shares and presignatures have their own kinds inside
 * the engine: this port cannot open them.
 */
export interface Vault {
  /** Seals a secret of the node itself; `label` is bound to it, so that sealed secrets can't be swapped. */
  seal(label: string, plaintext: Uint8Array): Promise<Uint8Array>;
  /** @throws CairnError `sealed-blob-invalid` when altered, of another node or label, or under another key */
  open(label: string, sealed: Uint8Array): Promise<Uint8Array>;
  /** Wipes the key-encryption key. */
  close(): Promise<void>;
}
