import { createDescriptor } from "@cairn/bitcoin";
import { checkKeygenRequest } from "@cairn/consensus";
import {
  auxiliaryExecutionKey,
  CairnError,
  decodeCanonical,
  domainHash,
  encodeCanonical,
  executionIdSchema,
  type HashHex,
  type KeyId,
  type KeyRow,
  keygenRequestHash,
  type NodeIndex,
  type NodeStore,
  partiesOf,
  publicPackageHash,
  type SessionId,
  type SignedKeygenRequest,
  type SignedWalletRecord,
  signBody,
  signedKeygenApprovalSchema,
  signedKeygenRequestSchema,
  signedSchema,
  verifyWalletProof,
  type WalletProof,
  type WalletRecord,
  type WalletRow,
  walletIdOf,
  walletProofSchema,
  walletRecordSchema,
} from "@cairn/core";
import {
  type Engine,
  type KeygenEffect,
  type KeygenEvent,
  type KeygenSetup,
  newKey,
  resumeKey,
  type SignedFinalize,
  type SignedProposal,
  signedPublicPackageWordSchema,
  stepKey,
} from "@cairn/signing";
import { atTime } from "./at-time.ts";
import type { AttemptDeskModules, AttemptDeskOptions } from "./attempt-desk.ts";
import { KeygenStages } from "./keygen-stages.ts";
import { type KeyListeners, type KeyProgress, LiveKeys } from "./live-keys.ts";
import type { Batch } from "./loop.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";
import { unawaited } from "./unawaited.ts";
import type { WalletBook } from "./wallet-book.ts";
import { wordsOf } from "./words-of.ts";

export interface KeygenDeskOptions extends AttemptDeskOptions {
  readonly clockSkewMs: number;
}

export interface KeygenDeskModules extends AttemptDeskModules, KeyListeners {
  readonly store: Pick<NodeStore, "keys" | "wallets" | "meta" | "auxiliary">;
  readonly engine: Engine;
  readonly wallets: WalletBook;
  /** A peer's test signature does not verify. */
  readonly forged: (batch: Batch, from: NodeIndex, subject: SessionId) => void;
}

type EffectOf<Name extends KeygenEffect["effect"]> = Extract<KeygenEffect, { readonly effect: Name }>;

const walletSignatureSchema = signedSchema(walletRecordSchema);

/** Why a key that others use is of no use here. */
const SHARE_MISSING = "share-missing";

/** Failed attempts of one stage after which this node gives a key up. */
const MAX_STAGE_ATTEMPTS = 6;

/** Keys: from an operator's request to a wallet that all nodes have signed (architecture §§5, 7). */
export class KeygenDesk {
  readonly #options: KeygenDeskOptions;
  readonly #modules: KeygenDeskModules;
  readonly #keys: LiveKeys;
  readonly #stages: KeygenStages;
  readonly #identities: KeygenSetup["identities"];
  readonly #parties: HashHex;

  constructor(options: KeygenDeskOptions, modules: KeygenDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#identities = new Map(
      options.book.manifest.members.map((member) => [member.index, member.identity]),
    );
    this.#parties = partiesOf(options.book.manifest);
    this.#keys = new LiveKeys(modules);
    this.#stages = new KeygenStages(
      { ...options, parties: this.#parties },
      {
        ...modules,
        keys: this.#keys,
        step: (batch, keyId, event) => this.#step(batch, keyId, event),
      },
    );
  }

  async restore(): Promise<void> {
    await this.#keys.restore(this.#modules.store);
    for (const row of await this.#modules.store.wallets()) this.#modules.wallets.add(row);
  }

  /** Goes on with what a restart interrupted. */
  resume(): void {
    for (const { row, state, request } of this.#keys.all()) {
      const { keyId } = row;
      const effects = resumeKey(state, this.#setup(keyId, request));
      if (effects.length === 0 && state.phase !== "approving") continue;
      this.#later(
        this.#modules.loop.run((batch) => {
          for (const effect of effects) this.#carryOut(batch, keyId, effect);
          if (state.phase === "approving") batch.afterwards(() => this.#later(this.#decide(keyId)));
        }),
      );
    }
  }

  close(): void {
    this.#stages.close();
  }

  all(): readonly KeyRow[] {
    return this.#keys.all().map(({ row }) => row);
  }

  list(): readonly KeyProgress[] {
    return this.#keys.list();
  }

  /** @throws CairnError `not-found`, `wrong-state` */
  active(keyId: KeyId): KeyRow {
    return this.#keys.active(keyId);
  }

  /** @throws CairnError `not-found` */
  get(keyId: KeyId): KeyProgress {
    return this.#keys.progress(keyId);
  }

  /**
   * This node's operator refuses a key: no node makes it any more.
   * @throws CairnError `not-found`, `wrong-state` (ended, or this node has signed the key's record, so that others may have it in use)
   */
  async refuse(keyId: KeyId): Promise<KeyProgress> {
    await this.#modules.loop.run((batch) => {
      const { phase } = this.#keys.of(keyId).state;
      if (phase !== "approving" && phase !== "generating" && phase !== "confirming" && phase !== "testing") {
        throw new CairnError("wrong-state", `the key is ${phase}: it is too late to refuse it`, {
          keyId,
          phase,
        });
      }
      this.#step(batch, keyId, { event: "abandon" });
    });
    return this.#keys.progress(keyId);
  }

  /** @throws CairnError `not-found` */
  publicPackage(keyId: KeyId): Uint8Array {
    return this.#keys.publicPackage(keyId);
  }

  /** Takes an operator's request and passes it on. A request that is known answers with its key. */
  async request(signed: SignedKeygenRequest): Promise<KeyId> {
    await this.#take(signed, true);
    return keygenRequestHash(signed.body);
  }

  async onRequest(_from: NodeIndex, payload: Uint8Array): Promise<void> {
    await this.#take(decodeCanonical(signedKeygenRequestSchema, payload), false);
  }

  async onApproval(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedKeygenApprovalSchema, payload);
    await this.#feed(signed.body.keyId, { event: "approval", from, signed });
  }

  async onPublicPackage(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedPublicPackageWordSchema, payload);
    await this.#feed(signed.body.keyId, { event: "public-package", from, signed });
  }

  async onWalletSignature(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(walletSignatureSchema, payload);
    await this.#feed(signed.body.keyId, { event: "wallet-signature", from, signed });
  }

  /** The wallets of this cluster as {@link WalletProof}s, for peers that ask. */
  walletProofs(): readonly Uint8Array[] {
    return this.#modules.wallets.all().flatMap(({ signed, row }) => {
      const key = this.#keys.get(row.keyId);
      const stored = key?.row.publicPackage ?? null;
      if (key === undefined || stored === null) return [];
      const publicPackage = new Uint8Array(stored);
      const proof: WalletProof = { version: 1, request: key.request, record: signed, publicPackage };
      return [encodeCanonical(proof)];
    });
  }

  /**
   * A peer hands over a wallet that all nodes signed. A key that waits for their signatures has them now. One that this node does not
   * know was made in a time that it forgot: it holds no share of it, but can follow the wallet's payments and judge them.
   * @throws CairnError `signature-invalid`, `malformed` and the like
   */
  async takeWallet(from: NodeIndex, body: Uint8Array): Promise<void> {
    const proof = decodeCanonical(walletProofSchema, body);
    const { wallets } = this.#modules;
    if (wallets.has(proof.record.record.wallet)) return;
    verifyWalletProof(proof, this.#options.book.manifest);
    const { keyId } = proof.record.record;
    if (this.#keys.get(keyId)?.state.phase === "recording") {
      for (const { node, signature } of proof.record.signatures)
        await this.#feed(keyId, {
          event: "wallet-signature",
          from: node,
          signed: { body: proof.record.record, signature },
        });
    }
    if (wallets.has(proof.record.record.wallet)) return;
    await this.#modules.loop.run((batch) => {
      if (this.#keys.get(keyId) === undefined) this.#addWithoutShare(batch, proof);
      batch.audit("wallet-synced", keyId, { from, wallet: proof.record.record.wallet });
      this.#addWallet(batch, proof.record);
    });
  }

  /** A peer opens an attempt at a stage. */
  onProposal(from: NodeIndex, signed: SignedProposal): Promise<void> {
    return this.#stages.onProposal(from, signed);
  }

  /** Test signatures that others made. */
  onFinalize(from: NodeIndex, signed: SignedFinalize, session: SessionId): Promise<void> {
    return this.#stages.onFinalize(from, signed, session);
  }

  /** Peers came or went: stages that wait for them are looked at again. */
  peersChanged(): void {
    this.#stages.peersChanged();
  }

  async #take(signed: SignedKeygenRequest, own: boolean): Promise<void> {
    const { me, clockSkewMs, book } = this.#options;
    const { manifest, manifestHash } = book;
    const keyId = keygenRequestHash(signed.body);
    if (this.#keys.get(keyId) !== undefined) return;
    const now = this.#modules.clock.now();
    checkKeygenRequest(signed, { manifest, manifestHash, now, clockSkewMs });
    await this.#modules.loop.run((batch) => {
      if (this.#keys.get(keyId) !== undefined) return;
      const row: KeyRow = {
        keyId,
        protocol: signed.body.protocol,
        purpose: "wallet",
        epoch: 0,
        status: "generating",
        request: encodeCanonical(signed),
        publicPackage: null,
        sealedShare: null,
        reason: null,
        createdAt: now,
        updatedAt: now,
      };
      const { state, effects } = newKey(this.#setup(keyId, signed));
      this.#keys.add(batch, { row, request: signed, state });
      batch.audit("keygen-requested", keyId, { protocol: row.protocol, operator: signed.body.operator });
      if (own) {
        const message = peerMessage("keygen-request", row.request);
        batch.post(otherMembers(manifest, me), `keygen-request/${keyId}`, message);
      }
      for (const effect of effects) this.#carryOut(batch, keyId, effect);
      batch.afterwards(() => this.#later(this.#decide(keyId)));
    });
  }

  /** This node's own word: it checked the request before it stored it. */
  async #decide(keyId: KeyId): Promise<void> {
    const held = await this.#modules.store.meta(auxiliaryExecutionKey(this.#parties));
    const auxExecution = held === null ? null : decodeCanonical(executionIdSchema, held);
    await this.#feed(keyId, { event: "decided", approve: true, reason: null, auxExecution });
  }

  async #feed(keyId: KeyId, event: KeygenEvent): Promise<void> {
    await this.#modules.loop.run((batch) => this.#step(batch, keyId, event));
  }

  #step(batch: Batch, keyId: KeyId, event: KeygenEvent): void {
    const live = this.#keys.get(keyId);
    if (live === undefined) {
      throw new CairnError("busy", "this node has not seen the keygen request yet; send it again", { keyId });
    }
    const now = this.#modules.clock.now();
    const step = stepKey(live.state, event, this.#setup(keyId, live.request), { now });
    this.#keys.step(batch, keyId, step.state);
    for (const effect of step.effects) this.#carryOut(batch, keyId, effect);
  }

  #carryOut(batch: Batch, keyId: KeyId, effect: KeygenEffect): void {
    switch (effect.effect) {
      case "send":
        return this.#send(batch, keyId, effect);
      case "arm":
        return batch.afterwards(() => {
          atTime(this.#modules.clock, effect.at, () => this.#later(this.#feed(keyId, { event: "tick" })));
        });
      case "run-stage":
        return this.#stages.run(batch, keyId, effect.stage, effect.signers);
      case "stop-stages":
        return this.#stages.stop(batch, keyId);
      case "store-aux": {
        const value = encodeCanonical(effect.execution);
        batch.write({ write: "auxiliary", parties: this.#parties, sealed: effect.sealedAux });
        batch.write({ write: "meta", key: auxiliaryExecutionKey(this.#parties), value });
        return this.#stages.stop(batch, keyId);
      }
      case "store-share": {
        const { attempt, sealedShare, publicPackage } = effect;
        this.#keys.update(batch, keyId, { sealedShare, publicPackage });
        batch.audit("share-stored", keyId, { attempt, package: publicPackageHash(publicPackage) });
        return this.#stages.stop(batch, keyId);
      }
      case "make-record":
        return batch.afterwards(() => this.#later(this.#makeRecord(keyId, effect.publicPackage)));
      case "activate":
        return this.#activate(batch, keyId, effect);
      case "failed":
        this.#keys.update(batch, keyId, { status: "failed", reason: effect.code });
        return batch.audit("keygen-failed", keyId, {
          code: effect.code,
          blamed: effect.blamed.join(","),
          ...wordsOf(this.#keys.progress(keyId).approvals),
        });
      case "disagrees":
        return batch.audit("keygen-disagreement", keyId, { node: effect.node });
      case "status":
        return this.#keys.update(batch, keyId, { status: effect.status });
      case "refused":
        return batch.audit("message-refused", keyId, { from: effect.from, code: effect.code });
    }
  }

  #send(batch: Batch, keyId: KeyId, effect: EffectOf<"send">): void {
    const { kind, domain, body } = effect.message;
    const { me } = this.#options;
    const signed = signBody<unknown>(domain, body, this.#modules.signer);
    const payload = encodeCanonical(signed);
    const others = effect.to.filter((node) => node !== me);
    batch.post(others, `${kind}/${keyId}/${domainHash(domain, body)}`, peerMessage(kind, payload));
    if (!effect.to.includes(me)) return;
    const receive = {
      "keygen-approval": () => this.onApproval(me, payload),
      "public-package": () => this.onPublicPackage(me, payload),
      "wallet-signature": () => this.onWalletSignature(me, payload),
    }[kind];
    batch.afterwards(() => this.#later(receive()));
  }

  #activate(batch: Batch, keyId: KeyId, { signed }: EffectOf<"activate">): void {
    const { wallet, descriptor } = signed.record;
    batch.audit("key-active", keyId, { wallet, descriptor });
    this.#addWallet(batch, signed);
  }

  #addWallet(batch: Batch, signed: SignedWalletRecord): void {
    const { wallet, keyId, label } = signed.record;
    const record = encodeCanonical(signed);
    const row: WalletRow = { wallet, keyId, label, record, createdAt: this.#modules.clock.now() };
    batch.write({ write: "wallet", row });
    batch.afterwards(() => this.#modules.wallets.add(row));
  }

  #addWithoutShare(batch: Batch, { request, record, publicPackage }: WalletProof): void {
    const { keyId, protocol } = record.record;
    const now = this.#modules.clock.now();
    const row: KeyRow = {
      keyId,
      protocol,
      purpose: "wallet",
      epoch: 0,
      status: "failed",
      request: encodeCanonical(request),
      publicPackage,
      sealedShare: null,
      reason: SHARE_MISSING,
      createdAt: now,
      updatedAt: now,
    };
    this.#keys.add(batch, {
      row,
      request,
      state: { phase: "failed", keyId, approvals: [], during: "recording", code: SHARE_MISSING, blamed: [] },
    });
  }

  async #makeRecord(keyId: KeyId, publicPackage: Uint8Array): Promise<void> {
    const { manifest } = this.#options.book;
    const { body } = this.#keys.of(keyId).request;
    const { publicKey, chainCode } = await this.#modules.engine.describe(publicPackage);
    const kind = body.protocol === "frost" ? "tr" : "wpkh";
    const descriptor = createDescriptor(kind, manifest.network, publicKey, chainCode).text;
    const record: WalletRecord = {
      version: 1,
      cluster: manifest.cluster,
      wallet: walletIdOf(descriptor),
      label: body.label,
      network: manifest.network,
      descriptor,
      keyId,
      protocol: body.protocol,
      publicPackage: publicPackageHash(publicPackage),
      birthday: body.createdAt,
    };
    await this.#feed(keyId, { event: "record-made", record });
  }

  #setup(keyId: KeyId, request: SignedKeygenRequest): KeygenSetup {
    const { me, book } = this.#options;
    const { manifest } = book;
    return {
      me,
      cluster: manifest.cluster,
      keyId,
      request: request.body,
      members: manifest.members.map(({ index }) => index),
      identities: this.#identities,
      maxAttempts: MAX_STAGE_ATTEMPTS,
    };
  }

  #later(work: Promise<void>): void {
    unawaited(work, this.#modules.report);
  }
}
