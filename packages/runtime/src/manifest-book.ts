import {
  CairnError,
  type ChangeCommit,
  type Constitution,
  changeCommitSchema,
  decodeCanonical,
  encodeCanonical,
  type Manifest,
  type ManifestHash,
  manifestHash,
  type NodeStore,
  operatorSignaturesOf,
  type Policy,
  type SignedManifest,
  verifyChangeCommit,
} from "@cairn/core";
import type { Batch, Cell } from "./loop.ts";

/** A manifest that is or was in force, and the operators' decision that made it so; null for the genesis. */
export interface ManifestLink extends Constitution {
  readonly commit: ChangeCommit | null;
}

/** What a part of the node goes by, asked for at each use. */
export type InForce = Pick<ManifestBook, "manifest" | "manifestHash" | "policy" | "under">;

/** More changes than a cluster ever makes. */
const MAX_CHANGES = 1_000_000;

/** The manifests of a cluster, from the genesis to the one in force. What is in force may change: ask at each use. */
export class ManifestBook {
  readonly #chain: Cell<readonly [ManifestLink, ...ManifestLink[]]>;

  private constructor(chain: readonly [ManifestLink, ...ManifestLink[]]) {
    this.#chain = { value: chain };
  }

  /**
   * Derives what is in force from the pinned genesis and the commits of the store, each link verified.
   * @throws CairnError `storage-corrupt` where they make no chain
   */
  static async open(
    genesis: { readonly manifest: Manifest; readonly policy: Policy },
    store: Pick<NodeStore, "changes">,
  ): Promise<ManifestBook> {
    const { manifest, policy } = genesis;
    const book = new ManifestBook([{ manifest, policy, manifestHash: manifestHash(manifest), commit: null }]);
    const rows = await store.changes({ states: ["in-force"], limit: MAX_CHANGES });
    const commits = rows.flatMap(({ type, commit }) =>
      type === "manifest" && commit !== null ? [decodeCanonical(changeCommitSchema, commit)] : [],
    );
    const sequenceOf = ({ proposal: { body } }: ChangeCommit) =>
      body.change.type === "manifest" ? body.change.manifest.sequence : 0;
    for (const commit of commits.toSorted((a, b) => sequenceOf(a) - sequenceOf(b))) {
      try {
        verifyChangeCommit(commit, book.current);
      } catch (cause) {
        throw new CairnError(
          "storage-corrupt",
          "the database's chain of manifests breaks off; restore it from a backup",
          { sequence: sequenceOf(commit) },
          { cause },
        );
      }
      book.#chain.value = [...book.#chain.value, nextLink(commit, book.current)];
    }
    return book;
  }

  /** What is in force now. */
  get current(): ManifestLink {
    const { value } = this.#chain;
    return value.at(-1) ?? value[0];
  }

  get manifest(): Manifest {
    return this.current.manifest;
  }

  get manifestHash(): ManifestHash {
    return this.current.manifestHash;
  }

  get policy(): Policy {
    return this.current.policy;
  }

  /** From the genesis to the one in force. */
  chain(): readonly [ManifestLink, ...ManifestLink[]] {
    return this.#chain.value;
  }

  knows(hash: string): boolean {
    return this.#chain.value.some((link) => link.manifestHash === hash);
  }

  /** The manifest that a structure names, in force or a former one. @throws CairnError `wrong-manifest` */
  under(hash: ManifestHash): ManifestLink {
    const found = this.#chain.value.findLast((link) => link.manifestHash === hash);
    if (found !== undefined) return found;
    throw new CairnError(
      "wrong-manifest",
      "this names a manifest that this node does not know; exchange manifests, then ask again",
      { named: hash, inForce: this.manifestHash },
    );
  }

  /** Puts a verified change of the manifest in force into force, in the batch that makes it durable. */
  adopt(batch: Batch, commit: ChangeCommit): ManifestLink {
    const link = nextLink(commit, this.current);
    const signed: SignedManifest = {
      manifest: link.manifest,
      signatures: operatorSignaturesOf(commit, this.current),
    };
    const { sequence } = link.manifest;
    batch.write({
      write: "manifest",
      row: { sequence, hash: link.manifestHash, body: encodeCanonical(signed) },
    });
    batch.assign(this.#chain, [...this.#chain.value, link]);
    return link;
  }
}

function nextLink(commit: ChangeCommit, current: Constitution): ManifestLink {
  const { change } = commit.proposal.body;
  if (change.type !== "manifest")
    throw new CairnError("wrong-state", "only a manifest follows a manifest", { type: change.type });
  return {
    manifest: change.manifest,
    manifestHash: manifestHash(change.manifest),
    policy: change.policy ?? current.policy,
    commit,
  };
}
