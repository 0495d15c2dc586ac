import { CairnClient } from "@cairn/client";
import type { Ed25519Signer, SignedManifest } from "@cairn/core";
import type { CliConfig } from "./cli-config.ts";
import { readSigner } from "./read-signer.ts";
import { type TrustedConstitution, trustedHistory } from "./trusted-history.ts";
import { trustedManifest } from "./trusted-manifest.ts";
import { selectWallet, type TrustedWallet, trustedWallets } from "./trusted-wallet.ts";

/** A cluster as this command may reach it: what nodes say, and what follows from the pinned manifest alone. */
export class ClusterAccess {
  readonly config: CliConfig;
  readonly endpoints: readonly string[];
  readonly client: CairnClient;
  #manifest: Promise<SignedManifest> | null = null;

  /** @param endpoints in place of the configuration's, unless empty */
  constructor(config: CliConfig, endpoints: readonly string[]) {
    this.config = config;
    this.endpoints = endpoints.length > 0 ? endpoints : config.endpoints;
    this.client = this.#clientOf(this.endpoints);
  }

  /** A client of each endpoint alone. */
  clients(): readonly { readonly endpoint: string; readonly client: CairnClient }[] {
    return this.endpoints.map((endpoint) => ({ endpoint, client: this.#clientOf([endpoint]) }));
  }

  /** @throws CairnError `peer-disagrees` when the node serves another manifest than the pinned one */
  signedManifest(): Promise<SignedManifest> {
    this.#manifest ??= trustedManifest(this.client, this.config);
    return this.#manifest;
  }

  /** What is in force, with its policy. @throws CairnError of {@link trustedHistory} */
  constitution(): Promise<TrustedConstitution> {
    return trustedHistory(this.client, this.config);
  }

  async wallets(): Promise<readonly TrustedWallet[]> {
    const { manifest } = await this.signedManifest();
    return trustedWallets(this.client, manifest);
  }

  async wallet(name: string | undefined): Promise<TrustedWallet> {
    return selectWallet(await this.wallets(), name);
  }

  requester(): Promise<Ed25519Signer> {
    return readSigner(this.config.requester_key, { name: "a requester's key", setting: "requester_key" });
  }

  /** @param file in place of the configuration's */
  approver(file: string | undefined): Promise<Ed25519Signer> {
    return readSigner(file ?? this.config.approver_key, {
      name: "an approver's key",
      setting: "approver_key",
    });
  }

  operator(): Promise<Ed25519Signer> {
    return readSigner(this.config.operator_key, { name: "an operator's key", setting: "operator_key" });
  }

  #clientOf(endpoints: readonly string[]): CairnClient {
    return new CairnClient({ endpoints, token: this.config.token ?? null });
  }
}
