import {
  decodeCanonical,
  encodeCanonical,
  isCairnError,
  type KeyId,
  type NodeIndex,
  type NodeStore,
  type SignedVerifiedBackup,
  signedVerifiedBackupSchema,
  VERIFIED_BACKUPS_KEY,
  verifyVerifiedBackup,
} from "@cairn/core";
import { z } from "zod";
import type { KeyProgress } from "./live-keys.ts";
import type { Batch, Cell, Loop } from "./loop.ts";
import type { InForce } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";

/** A key in use that some members have no verified backup of. */
export interface UnbackedKey {
  readonly keyId: KeyId;
  readonly epoch: number;
  /** Members without one, ascending. */
  readonly missing: readonly NodeIndex[];
  /** When the key became what it is. */
  readonly since: KeyProgress["row"]["updatedAt"];
}

export interface BackupDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "meta">;
  readonly keys: { list(): readonly KeyProgress[] };
}

const wordsSchema = z.array(signedVerifiedBackupSchema);

/** Operators' words on verified backups: the newest of each member, the same at all nodes in the end. */
export class BackupDesk {
  readonly #options: { readonly me: NodeIndex; readonly book: InForce };
  readonly #modules: BackupDeskModules;
  readonly #words: Cell<readonly SignedVerifiedBackup[]> = { value: [] };

  constructor(options: { readonly me: NodeIndex; readonly book: InForce }, modules: BackupDeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  async restore(): Promise<void> {
    const stored = await this.#modules.store.meta(VERIFIED_BACKUPS_KEY);
    if (stored !== null) this.#words.value = decodeCanonical(wordsSchema, stored);
  }

  /**
   * Takes an operator's word and tells the other members. One that is no newer than the word this node has of that member changes nothing.
   * @throws CairnError `wrong-cluster`, `not-member`, `operator-signature-missing`
   */
  async take(signed: SignedVerifiedBackup): Promise<void> {
    const { me, book } = this.#options;
    verifyVerifiedBackup(signed, book.manifest);
    const { node, backup, createdAt } = signed.body;
    await this.#modules.loop.run((batch) => {
      this.#keep(batch, signed);
      const message = peerMessage("verified-backup", encodeCanonical(signed));
      batch.post(otherMembers(book.manifest, me), `verified-backup/${node}/${createdAt}/${backup}`, message);
    });
  }

  /** Puts into the log that this node made a backup. */
  made(backup: { readonly backup: string; readonly keys: readonly KeyId[] }): Promise<void> {
    return this.#modules.loop.run((batch) =>
      batch.audit("backup-created", backup.backup, { keys: backup.keys.length }),
    );
  }

  /** Puts into the log that an operator had an address shown though backups of its key are missing. */
  overridden(keyId: KeyId, address: string, missing: readonly NodeIndex[]): Promise<void> {
    return this.#modules.loop.run((batch) =>
      batch.audit("address-without-backups", keyId, { address, missing: missing.join() }),
    );
  }

  /** Tells a peer that came up the words that hold: one that was restored since has lost those that came after its backup. */
  async peerUp(node: NodeIndex): Promise<void> {
    const words = this.words();
    if (words.length === 0) return;
    await this.#modules.loop.run((batch) => {
      for (const signed of words) batch.send([node], peerMessage("verified-backup", encodeCanonical(signed)));
    });
  }

  /** A word that a peer passes on. @throws CairnError as {@link take} does, and `malformed` */
  async onWord(payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedVerifiedBackupSchema, payload);
    verifyVerifiedBackup(signed, this.#options.book.manifest);
    await this.#modules.loop.run((batch) => this.#keep(batch, signed));
  }

  /** What holds under the manifest in force, ascending by node: a former operator's word is none. */
  words(): readonly SignedVerifiedBackup[] {
    const { manifest } = this.#options.book;
    return this.#words.value.filter((signed) => {
      try {
        verifyVerifiedBackup(signed, manifest);
        return true;
      } catch (error) {
        if (isCairnError(error)) return false;
        throw error;
      }
    });
  }

  /** Keys in use that some members have no verified backup of. */
  unbacked(): readonly UnbackedKey[] {
    const words = this.words();
    const members = this.#options.book.manifest.members.map(({ index }) => index);
    return this.#modules.keys.list().flatMap(({ row: { keyId, epoch, status, updatedAt } }) => {
      if (status !== "active" && status !== "rotating") return [];
      const holders = new Set(
        words
          .filter(({ body }) => body.keys.some((key) => key.keyId === keyId && key.epoch === epoch))
          .map(({ body }) => body.node),
      );
      const missing = members.filter((index) => !holders.has(index));
      return missing.length === 0 ? [] : [{ keyId, epoch, missing, since: updatedAt }];
    });
  }

  #keep(batch: Batch, signed: SignedVerifiedBackup): void {
    const { node, createdAt, verifiedAt, backup } = signed.body;
    const known = this.#words.value.find(({ body }) => body.node === node)?.body;
    const isNewer =
      known === undefined ||
      createdAt > known.createdAt ||
      (createdAt === known.createdAt && verifiedAt > known.verifiedAt);
    if (!isNewer) return;
    const words = [...this.#words.value.filter(({ body }) => body.node !== node), signed].toSorted(
      (a, b) => a.body.node - b.body.node,
    );
    batch.assign(this.#words, words);
    batch.write({ write: "meta", key: VERIFIED_BACKUPS_KEY, value: encodeCanonical(words) });
    batch.audit("backup-verified", String(node), { backup, createdAt, keys: signed.body.keys.length });
  }
}
