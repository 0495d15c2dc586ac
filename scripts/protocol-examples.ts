import { createHash } from "node:crypto";
import {
  buildPsbt,
  checkPsbt,
  createDescriptor,
  decodeAddress,
  deriveKey,
  encodePsbt,
  encodeUnsignedTransaction,
  signingInputs,
} from "@cairn/bitcoin";
import {
  type Accusation,
  type Certificate,
  type Deferral,
  deriveGrant,
  type EcdsaPublicData,
  type Evidence,
  formCertificate,
  type Grant,
  type Intent,
  intentHash,
  type KeygenGrant,
  offenceOf,
  type SigningGrant,
  signAccusation,
  signBroadcast,
  signGrant,
  signKeygenApproval,
  signPartial,
  signPublicDataAcceptance,
  signVote,
  type Vote,
} from "@cairn/consensus";
import {
  type ApiRequest,
  AUDIT_ROOT,
  type AuditEntry,
  apiBodyHash,
  auditEntryHash,
  type BanLift,
  type Change,
  type ChangeProposal,
  type ChangeVote,
  type Checkpoint,
  type CheckpointProposal,
  type CheckpointSignature,
  changeProposalHash,
  checkpointAnchor,
  checkpointHash,
  clusterIdOf,
  concatBytes,
  type DomainTag,
  decodeEnvelope,
  domainHash,
  Ed25519Signer,
  type EnvelopeHeader,
  encodeCanonical,
  type FenceAnswer,
  type FenceChallenge,
  fenceAnswerHash,
  formChangeCommit,
  fromHex,
  type HashHex,
  hashHexSchema,
  type KeygenRequest,
  type KeyRefresh,
  keygenRequestHash,
  type Manifest,
  manifestHash,
  manifestSchema,
  type NodeIndex,
  type Nonce,
  nodeIndexSchema,
  openEnvelope,
  type Policy,
  policyHash,
  policySchema,
  publicPackageHash,
  SealingKey,
  type SessionId,
  type Signer,
  type SpendApproval,
  type SpendRequest,
  type SyncAnswer,
  type SyncRequest,
  sealEnvelope,
  sha256Hex,
  signBody,
  signChange,
  signChangeProposal,
  signChangeVote,
  signCheckpoint,
  signFenceAnswer,
  signSpendApproval,
  spendRequestHash,
  spendRequestSchema,
  type Txid,
  toHex,
  type UnixMs,
  type VerifiedBackup,
  type WalletProof,
  type WalletRecord,
  walletIdOf,
} from "@cairn/core";
import {
  type Abort,
  type Ack,
  executionIdOf,
  type Finalize,
  initiatorOrder,
  makePresignReady,
  makeProposal,
  type PresignJob,
  type Proposal,
  presignatureIdOf,
  presignJobHash,
  proposalHash,
  publicDataAcceptance,
  subsetsInOrder,
  testSigningItem,
  testSubsets,
} from "@cairn/signing";
import { secp256k1 } from "@noble/curves/secp256k1.js";

/** One structure with fixed keys and values, and what the code makes of it. */
export interface ProtocolExample {
  /** Tag under which the body is hashed or signed; null for what only its envelope authenticates. */
  readonly domain: DomainTag | null;
  /** Name of the key that signs, or null for what is only hashed, or neither. */
  readonly signer: string | null;
  /** The body; byte strings stand as `{"bytes": hex}`. */
  readonly body: unknown;
  /** DAG-CBOR of the body, hex. */
  readonly encoded: string;
  /** SHA-256 of tag ‖ 0x00 ‖ encoded, hex; null without a tag. */
  readonly hash: string | null;
  /** Ed25519 over tag ‖ 0x00 ‖ encoded, hex. */
  readonly signature: string | null;
}

export interface ProtocolExamples {
  /** Ed25519 seeds and X25519 private keys by name: known to everybody, so never to be used. */
  readonly keys: Record<string, { readonly private: string; readonly public: string }>;
  readonly examples: Record<string, ProtocolExample>;
}

/** PKCS#8 prefixes of Ed25519 and X25519 private keys (RFC 8410 §7). */
const PKCS8 = {
  ed25519: "302e020100300506032b657004220420",
  x25519: "302e020100300506032b656e04220420",
} as const;

function pemOf(type: keyof typeof PKCS8, privateKey: string): Uint8Array {
  const der = Buffer.from(PKCS8[type] + privateKey, "hex").toString("base64");
  return Buffer.from(`-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`);
}

function digest(text: string): string {
  return createHash("sha256").update(`Cairn protocol example: ${text}`).digest("hex");
}

/** The signer whose seed the document names. */
export function exampleSigner(name: string): Ed25519Signer {
  return Ed25519Signer.fromPem(pemOf("ed25519", digest(name)));
}

/** The sealing key whose private half the document names. */
export function exampleSealingKey(name: string): SealingKey {
  return SealingKey.fromPem(pemOf("x25519", digest(name)));
}

/** A body as JSON shows it: byte strings as `{"bytes": hex}`, amounts as numbers. */
export function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: toHex(value) };
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, readable(field)]));
  }
  return value;
}

/** The generator of secp256k1, standing in for a group key. */
const GENERATOR = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

const at = (seconds: number) => (1_767_225_600_000 + seconds * 1000) as UnixMs;
const index = (node: number) => node as NodeIndex;
const nodes = [1, 2, 3, 4, 5].map(index);
const signers = [1, 2, 4, 5].map(index);

/**
 * Makes every example anew from the code.
 * @param sealed the envelope of the document as it stands, hex, or null: sealing draws fresh randomness, so it is kept where it still opens to
 * what the example says
 */
export async function protocolExamples(sealed: string | null): Promise<ProtocolExamples> {
  const keys: Record<string, { private: string; public: string }> = {};
  const examples: Record<string, ProtocolExample> = {};
  const key = (name: string): Ed25519Signer => {
    const signer = exampleSigner(name);
    keys[name] = { private: digest(name), public: signer.publicKey };
    return signer;
  };
  const seal = (name: string): SealingKey => {
    const sealing = exampleSealingKey(name);
    keys[name] = { private: digest(name), public: sealing.publicKey };
    return sealing;
  };
  const add = (
    name: string,
    domain: DomainTag | null,
    body: unknown,
    by: { name: string; key: Signer } | null,
  ) => {
    examples[name] = {
      domain,
      signer: by?.name ?? null,
      body: readable(body),
      encoded: toHex(encodeCanonical(body)),
      hash: domain === null ? null : domainHash(domain, body),
      signature: domain === null || by === null ? null : by.key.sign(domain, body),
    };
  };
  const by = (name: string) => ({ name, key: key(name) });
  const node = (of: number) => by(`node ${of}`);

  // Core
  const policy: Policy = policySchema.parse({
    version: 1,
    policyVersion: 1,
    perTransactionMaxSats: 5_000_000,
    rolling24hMaxSats: 20_000_000,
    perDestination24hMaxSats: null,
    whitelist: null,
    feeCeilingSats: 50_000,
    feeRateCeilingSatsPerKvb: 200_000,
    rateLimit: { count: 20, windowMs: 3_600_000 },
    delayMs: 0,
    approvals: null,
  });
  const draft: Manifest = manifestSchema.parse({
    version: 1,
    cluster: "0".repeat(64),
    nonce: digest("manifest nonce"),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: 4,
    members: nodes.map((member) => ({
      index: member,
      name: `node-${member}`,
      identity: key(`node ${member}`).publicKey,
      sealing: seal(`sealing ${member}`).publicKey,
      operator: key(`operator ${member}`).publicKey,
      addresses: [`tcp://node-${member}.example:9000`],
      api: null,
    })),
    requesters: [key("requester").publicKey],
    approvers: [key("approver").publicKey],
    coordinators: [],
    policyEngines: [key("policy engine").publicKey],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: policyHash(policy),
    policyVersion: 1,
    policyDelayMs: 0,
    changeDelayMs: 86_400_000,
    caFingerprint: digest("CA certificate"),
    unsignedRequests: false,
    checkpointAnchors: false,
    protocolVersions: [1],
    createdAt: at(0),
    effectiveAt: at(0),
  });
  const genesis: Manifest = { ...draft, cluster: clusterIdOf(draft) };
  const { cluster } = genesis;
  const inForce = manifestHash(genesis);
  add("policy", "cairn/policy/v1", policy, null);
  add("cluster-id", "cairn/cluster/v1", { ...genesis, cluster: "" }, null);
  add("genesis-manifest", "cairn/manifest/v1", genesis, by("operator 1"));
  const successor: Manifest = {
    ...genesis,
    sequence: 1,
    previous: inForce,
    requesters: [key("second requester").publicKey],
    createdAt: at(86_400),
    effectiveAt: at(172_800),
  };
  add("successor-manifest", "cairn/manifest/v1", successor, by("operator 1"));

  const keygen: KeygenRequest = {
    version: 1,
    cluster,
    manifest: inForce,
    protocol: "cggmp24",
    threshold: 4,
    total: 5,
    label: "savings",
    nonce: digest("keygen nonce") as Nonce,
    createdAt: at(60),
    expiry: at(3_660),
    operator: key("operator 1").publicKey,
  };
  const keyId = keygenRequestHash(keygen);
  add("keygen-request", "cairn/keygen-request/v1", keygen, by("operator 1"));
  add(
    "keygen-approval",
    "cairn/keygen-approval/v1",
    { version: 1, cluster, keyId, node: index(1), approve: true, reason: null, auxExecution: null },
    node(1),
  );
  add(
    "keygen-grant",
    null,
    {
      version: 1,
      type: "keygen",
      request: signBody("cairn/keygen-request/v1", keygen, key("operator 1")),
      approvals: nodes.map((member) =>
        signKeygenApproval(
          { version: 1, cluster, keyId, node: member, approve: true, reason: null, auxExecution: null },
          key(`node ${member}`),
        ),
      ),
    } satisfies KeygenGrant,
    null,
  );
  const publicPackage = new TextEncoder().encode("an example instead of a public package");
  const packageHash = publicPackageHash(publicPackage);
  add("public-package", "cairn/public-package/v1", publicPackage, null);
  const wallet = createDescriptor("wpkh", "regtest", fromHex(GENERATOR), fromHex(digest("chain code")));
  const descriptor = wallet.text;
  const record: WalletRecord = {
    version: 1,
    cluster,
    wallet: walletIdOf(descriptor),
    label: "savings",
    network: "regtest",
    descriptor,
    keyId,
    protocol: "cggmp24",
    publicPackage: packageHash,
    birthday: keygen.createdAt,
  };
  add("wallet-record", "cairn/wallet-record/v1", record, node(1));
  const signedRecord = {
    record,
    signatures: nodes.map((member) => ({
      node: member,
      signature: key(`node ${member}`).sign("cairn/wallet-record/v1", record),
    })),
  };
  add(
    "wallet-proof",
    null,
    {
      version: 1,
      request: signBody("cairn/keygen-request/v1", keygen, key("operator 1")),
      record: signedRecord,
      publicPackage: new Uint8Array(publicPackage),
    } satisfies WalletProof,
    null,
  );

  const request: SpendRequest = spendRequestSchema.parse({
    version: 1,
    cluster,
    network: "regtest",
    wallet: record.wallet,
    outputs: [{ address: "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", amountSats: 150_000 }],
    maxFeeSats: 10_000,
    feeRateSatsPerKvb: 5_000,
    nonce: digest("request nonce"),
    createdAt: at(7_200),
    expiry: at(10_800),
    replaces: null,
    requester: key("requester").publicKey,
  });
  add("spend-request", "cairn/spend-request/v1", request, by("requester"));
  const approval: SpendApproval = {
    version: 1,
    cluster,
    requestHash: spendRequestHash(request),
    approver: key("approver").publicKey,
    createdAt: at(7_500),
    expiry: request.expiry,
  };
  add("spend-approval", "cairn/spend-approval/v1", approval, by("approver"));

  const entry: AuditEntry = {
    version: 1,
    cluster,
    node: index(1),
    seq: 0,
    previous: AUDIT_ROOT,
    at: at(60),
    kind: "keygen-requested",
    subject: keyId,
    data: { protocol: "cggmp24", operator: keygen.operator },
  };
  add("audit-entry", "cairn/audit/v1", entry, node(1));
  const second: AuditEntry = {
    ...entry,
    seq: 1,
    previous: auditEntryHash(entry),
    kind: "keygen-approved",
    data: {},
  };
  add("audit-entry-next", "cairn/audit/v1", second, node(1));

  const checkpoint: Checkpoint = {
    version: 1,
    cluster,
    manifestHash: inForce,
    sequence: 0,
    previous: null,
    heads: nodes.map((member) => ({
      node: member,
      epoch: 0,
      length: member === 1 ? 2 : 0,
      hash: member === 1 ? auditEntryHash(second) : AUDIT_ROOT,
    })),
    createdAt: at(3_600),
  };
  add("checkpoint", "cairn/checkpoint/v1", checkpoint, node(1));
  add(
    "signed-checkpoint",
    null,
    {
      checkpoint,
      signatures: [1, 2, 3, 4].map((member) =>
        signCheckpoint(checkpoint, index(member), key(`node ${member}`)),
      ),
    },
    null,
  );
  add(
    "checkpoint-next",
    "cairn/checkpoint/v1",
    { ...checkpoint, sequence: 1, previous: checkpointHash(checkpoint), createdAt: at(7_200) },
    node(1),
  );
  add("checkpoint-anchor", null, checkpointAnchor(checkpoint), null);

  const earlier: FenceAnswer = {
    version: 1,
    cluster,
    node: index(1),
    challenger: index(2),
    nonce: digest("earlier fence nonce") as Nonce,
    position: { epoch: 0, burnCounter: 0, auditLength: 1 },
    auditHead: auditEntryHash(entry),
    continues: null,
    remembered: null,
    answeredAt: at(60),
  };
  const challenge: FenceChallenge = {
    version: 1,
    cluster,
    challenger: index(2),
    node: index(1),
    nonce: digest("fence nonce") as Nonce,
    remembered: signFenceAnswer(earlier, key("node 1")),
  };
  add("fence-challenge", null, challenge, null);
  const answer: FenceAnswer = {
    version: 1,
    cluster,
    node: challenge.node,
    challenger: challenge.challenger,
    nonce: challenge.nonce,
    position: { epoch: 0, burnCounter: 0, auditLength: 2 },
    auditHead: auditEntryHash(second),
    continues: { auditLength: 1, auditHead: auditEntryHash(entry) },
    remembered: fenceAnswerHash(earlier),
    answeredAt: at(120),
  };
  add("fence-answer", "cairn/fence/v1", answer, node(1));
  const toSign: CheckpointProposal = {
    version: 1,
    checkpoint,
    signature: signCheckpoint(checkpoint, index(2), key("node 2")).signature,
    previous: null,
    heads: [signFenceAnswer(answer, key("node 1"))],
  };
  add("checkpoint-proposal", null, toSign, null);
  const cosigned: CheckpointSignature = {
    version: 1,
    checkpoint: checkpointHash(checkpoint),
    signature: signCheckpoint(checkpoint, index(3), key("node 3")).signature,
  };
  add("checkpoint-signature", null, cosigned, null);

  const call: ApiRequest = {
    version: 1,
    cluster,
    caller: key("node 1").publicKey,
    node: null,
    method: "POST",
    path: "/registry/heartbeat",
    bodyHash: apiBodyHash(new TextEncoder().encode('{"party_index":1}')),
    nonce: digest("API nonce") as Nonce,
    createdAt: at(180),
  };
  add("api-request", "cairn/api-request/v1", call, node(1));

  // Consensus
  const previousTransaction = encodeUnsignedTransaction({
    version: 2,
    inputs: [{ txid: digest("funding transaction") as Txid, vout: 0, sequence: 0xffffffff }],
    outputs: [{ amountSats: 200_000n, script: deriveKey(wallet, [0, 0]).script }],
    lockTime: 0,
  });
  const psbt = encodePsbt(
    buildPsbt({
      descriptor: wallet,
      coins: [{ previousTransaction, vout: 0, path: [0, 0] }],
      recipients: request.outputs.map(({ address, amountSats }) => ({
        amountSats,
        script: decodeAddress(address, "regtest").script,
      })),
      change: { amountSats: 49_295n, index: 0, position: 1 },
      lockTime: 100,
    }),
  );
  const checked = checkPsbt(psbt, { descriptor: wallet, request, tipHeight: 100, nextChangeIndex: 0 });
  const intent: Intent = {
    version: 1,
    cluster,
    request: { body: request, signature: key("requester").sign("cairn/spend-request/v1", request) },
    psbt: new Uint8Array(psbt),
    wallet: record.wallet,
    anchor: null,
    manifestHash: inForce,
    policyVersion: 1,
    protocolVersion: 1,
    createdAt: at(7_201),
  };
  const hash = intentHash(intent);
  add("intent", "cairn/intent/v1", intent, null);
  const vote = (voter: number): Vote => ({
    version: 1,
    cluster,
    manifestHash: inForce,
    intentHash: hash,
    round: 1,
    voter: index(voter),
    approve: true,
    reason: null,
  });
  add("vote", "cairn/vote/v1", vote(1), node(1));
  const rejection: Vote = {
    ...vote(5),
    approve: false,
    reason: { code: "policy-denied", blocking: [] },
  };
  add("vote-rejection", "cairn/vote/v1", rejection, node(5));
  const deferral: Deferral = {
    version: 1,
    cluster,
    intentHash: hash,
    round: 1,
    node: index(3),
    code: "chain-unavailable",
    blocking: [],
  };
  add("deferral", null, deferral, null);
  add(
    "void",
    "cairn/void/v1",
    { version: 1, cluster, manifestHash: inForce, intentHash: hash, node: index(3) },
    node(3),
  );
  const certificate: Certificate | null = formCertificate(
    [1, 2, 3, 4].map((voter) => signVote(vote(voter), key(`node ${voter}`))),
    genesis,
  );
  add("certificate", "cairn/certificate/v1", certificate, null);
  const grant: Grant = deriveGrant({
    intent,
    manifest: genesis,
    wallet: record,
    inputs: signingInputs(checked),
  });
  add("grant-id", "cairn/grant/v1", hash, null);
  add("grant-nonce", "cairn/grant-nonce/v1", hash, null);
  add("grant", "cairn/grant/v1", grant, by("policy engine"));
  add(
    "authorised-grant",
    null,
    { grant, proof: { certificate, engines: [signGrant(grant, key("policy engine"))] } },
    null,
  );
  add(
    "signing-grant",
    null,
    {
      version: 1,
      type: "signing",
      grant,
      proof: { certificate, engines: [] },
      intent,
      wallet: signedRecord,
    } satisfies SigningGrant,
    null,
  );

  // Signing
  const job: PresignJob = {
    version: 1,
    cluster,
    keyId,
    epoch: 0,
    signers,
    paths: [[0, 0]],
    slot: Math.floor(at(3_600) / 300_000),
  };
  add("presign-job", "cairn/presign-job/v1", job, null);
  const presign: Proposal = makeProposal({
    cluster,
    purpose: "presign",
    subject: presignJobHash(job),
    stage: null,
    job,
    attempt: 0,
    initiator: index(1),
    signers,
    protocolVersion: 1,
    items: null,
  });
  add("proposal-presign", "cairn/proposal/v1", presign, node(1));
  const ackNonce = (of: string, signer: number) => ({
    node: index(signer),
    nonce: digest(`${of} nonce of node ${signer}`) as Nonce,
  });
  const presignExecution = executionIdOf(
    presign.sessionId,
    signers.map((signer) => ackNonce("presign", signer)),
  );
  const presignature = presignatureIdOf(job, presignExecution, 0);
  add(
    "presignature-id",
    "cairn/presignature/v1",
    {
      job: presignJobHash(job),
      execution: presignExecution,
      item: 0,
      keyId,
      epoch: 0,
      path: [0, 0],
      signers,
    },
    null,
  );
  const { BASE } = secp256k1.Point;
  const pointOf = (factor: bigint) => BASE.multiply(factor).toBytes(true);
  const ecdsaPublicData: EcdsaPublicData = {
    v: 1,
    id: fromHex(presignature),
    path: [0, 3],
    epoch: 0,
    gamma: pointOf(2n),
    keyId: fromHex(keyId),
    level: "full",
    signers,
    childKey: pointOf(3n),
    commitments: signers.map((signer) => [pointOf(BigInt(signer) + 3n), pointOf(BigInt(signer) + 13n)]),
  };
  add("presignature-public-data", null, ecdsaPublicData, null);
  const publicData = new Uint8Array(encodeCanonical(ecdsaPublicData));
  const accepted = publicDataAcceptance({
    cluster,
    node: index(1),
    presignatureId: presignature,
    signers,
    publicData,
  });
  add("presign-acceptance", "cairn/presignature-data/v1", accepted, node(1));
  add("presign-ready", null, makePresignReady(presign.sessionId, [accepted], cluster, key("node 1")), null);

  const order = initiatorOrder(grant.grantId as string as HashHex, grant.nonce, nodes);
  add(
    "initiator-rank",
    "cairn/initiator/v1",
    { subject: grant.grantId, nonce: grant.nonce, index: order[0] },
    null,
  );
  add("initiator-order", null, order, null);
  const subsets = subsetsInOrder(grant.grantId as string as HashHex, nodes, 4);
  add("subset-rank", "cairn/subset/v1", { subject: grant.grantId, subset: subsets[0] }, null);
  add("subset-order", null, subsets, null);

  const initiator = order.find((member) => signers.includes(member)) ?? index(1);
  const attempt = order.indexOf(initiator);
  const proposal: Proposal = makeProposal({
    cluster,
    purpose: "sign",
    subject: grant.grantId as string as HashHex,
    stage: null,
    job: null,
    attempt,
    initiator,
    signers,
    protocolVersion: 1,
    items: [presignature],
  });
  const session: SessionId = proposal.sessionId;
  add(
    "session-id",
    "cairn/session/v1",
    { cluster, purpose: "sign", subject: grant.grantId, stage: null, attempt, signers, protocolVersion: 1 },
    null,
  );
  add("proposal", "cairn/proposal/v1", proposal, node(initiator));
  const ack = (signer: number): Ack => ({
    version: 1,
    cluster,
    session,
    node: index(signer),
    proposalHash: proposalHash(proposal),
    nonce: ackNonce("ack", signer).nonce,
    sealing: null,
  });
  add("ack", "cairn/ack/v1", ack(1), node(1));
  add(
    "nack",
    "cairn/nack/v1",
    {
      version: 1,
      cluster,
      session,
      node: index(5),
      proposalHash: proposalHash(proposal),
      code: "grant-expired",
      message: "what the proposal names has expired",
    },
    node(5),
  );
  const nonces = signers.map((signer) => ackNonce("ack", signer));
  const execution = executionIdOf(session, nonces);
  add("execution-id", "cairn/execution/v1", { session, nonces }, null);
  add(
    "start",
    "cairn/start/v1",
    {
      version: 1,
      cluster,
      session,
      initiator,
      proposalHash: proposalHash(proposal),
      acks: signers.map((signer) => signBody("cairn/ack/v1", ack(signer), key(`node ${signer}`))),
    },
    node(initiator),
  );
  const abort: Abort = { version: 1, cluster, session, node: index(2), code: "timeout", blamed: [index(5)] };
  add("abort", "cairn/abort/v1", abort, node(2));

  const payload = new TextEncoder().encode("an example instead of an MPC message");
  const broadcast = {
    version: 1 as const,
    cluster,
    session,
    execution,
    round: 1,
    kind: "0",
    from: index(1),
    digest: sha256Hex(payload) as HashHex,
  };
  add("broadcast", "cairn/broadcast/v1", broadcast, node(1));
  add(
    "round-broadcast",
    null,
    { type: "broadcast", signed: signBroadcast(broadcast, key("node 1")), payload },
    null,
  );
  add(
    "round-direct",
    null,
    {
      type: "direct",
      version: 1,
      cluster,
      session,
      execution,
      from: index(1),
      to: index(2),
      round: 2,
      payload,
    },
    null,
  );
  const partial = {
    version: 1 as const,
    cluster,
    session,
    execution,
    presignature,
    input: 0,
    sighash: toHex(checked.inputs[0]?.sighash.digest ?? new Uint8Array()) as HashHex,
    from: index(1),
    partial: new Uint8Array(fromHex(digest("partial"))),
  };
  add("partial", "cairn/partial/v1", partial, node(1));
  const finalize: Finalize = {
    version: 1,
    cluster,
    session,
    subject: grant.grantId as string as HashHex,
    node: index(1),
    signatures: [concatBytes(fromHex(digest("r")), fromHex(digest("s")))],
  };
  add("finalize", "cairn/finalize/v1", finalize, node(1));

  // Key generation
  const stage = { step: "keygen" as const, part: 0 };
  const making: Proposal = makeProposal({
    cluster,
    purpose: "keygen",
    subject: keyId as string as HashHex,
    stage,
    job: null,
    attempt: 0,
    initiator: index(1),
    signers: nodes,
    protocolVersion: 1,
    items: null,
  });
  add("proposal-keygen", "cairn/proposal/v1", making, node(1));
  add(
    "ack-keygen",
    "cairn/ack/v1",
    {
      version: 1,
      cluster,
      session: making.sessionId,
      node: index(2),
      proposalHash: proposalHash(making),
      nonce: ackNonce("keygen", 2).nonce,
      sealing: seal("ephemeral sealing of node 2").publicKey,
    },
    node(2),
  );
  add(
    "public-package-word",
    "cairn/public-package/v1",
    { version: 1, cluster, keyId, attempt: 0, node: index(1), publicPackage: packageHash },
    node(1),
  );
  const [subset = signers] = testSubsets(nodes, 4);
  add("keygen-test", "cairn/keygen-test/v1", { cluster, keyId, publicPackage: packageHash, subset }, null);
  const item = testSigningItem({ cluster, keyId, protocol: "cggmp24", publicPackage: packageHash, subset });
  add("keygen-test-item", null, { path: item.path, preimage: item.preimage }, null);

  // Evidence and bans
  const claim = { version: 1 as const, manifestHash: inForce };
  const approval5 = signVote(vote(5), key("node 5"));
  const doubleVote: Evidence = {
    type: "DoubleVote",
    ...claim,
    votes: [approval5, signVote(rejection, key("node 5"))],
  };
  const violation = offenceOf(doubleVote).id;
  const invented: Evidence = { type: "DoubleVote", ...claim, votes: [approval5, approval5] };
  const accused = (evidence: Evidence): Accusation => ({ version: 1, cluster, accuser: index(4), evidence });
  add("evidence-double-vote", null, doubleVote, null);
  add(
    "evidence-minority-vote",
    null,
    {
      type: "MinorityVote",
      ...claim,
      intent,
      wallet: signedRecord,
      vote: signVote(vote(5), key("node 5")),
    },
    null,
  );
  add(
    "evidence-equivocation",
    null,
    {
      type: "Equivocation",
      ...claim,
      broadcasts: [
        signBroadcast(broadcast, key("node 1")),
        signBroadcast({ ...broadcast, digest: digest("another payload") as HashHex }, key("node 1")),
      ],
    },
    null,
  );
  add(
    "evidence-invalid-partial",
    null,
    {
      type: "InvalidPartial",
      ...claim,
      partial: signPartial(partial, key("node 1")),
      publicData,
      acceptance: signPublicDataAcceptance(accepted, key("node 1")),
    },
    null,
  );
  add(
    "evidence-rollback",
    null,
    {
      type: "Rollback",
      ...claim,
      answers: [
        signFenceAnswer(answer, key("node 1")),
        signFenceAnswer(
          {
            ...answer,
            nonce: digest("later fence nonce") as Nonce,
            position: { ...answer.position, auditLength: 1 },
            auditHead: auditEntryHash(entry),
            continues: { auditLength: 2, auditHead: null },
            remembered: fenceAnswerHash(answer),
            answeredAt: at(60),
          },
          key("node 1"),
        ),
      ],
    },
    null,
  );
  add(
    "evidence-false-accusation",
    null,
    {
      type: "FalseAccusation",
      ...claim,
      accusation: signAccusation(accused(invented), key("node 4")),
    },
    null,
  );
  add("accusation", "cairn/accusation/v1", accused(doubleVote), node(4));
  add(
    "offence",
    "cairn/evidence/v1",
    {
      type: "DoubleVote",
      node: index(5),
      offence: { intent: rejection.intentHash, round: rejection.round },
    },
    null,
  );
  const lift: BanLift = {
    version: 1,
    cluster,
    manifestHash: inForce,
    node: index(5),
    violations: [violation],
    createdAt: at(20_000),
    effectiveAt: at(106_400),
  };
  add("ban-lift", "cairn/ban/v1", lift, by("operator 1"));
  const change: Change = { type: "ban-lift", lift };
  const proposed: ChangeProposal = {
    version: 1,
    cluster,
    manifestHash: inForce,
    change,
    createdAt: at(20_000),
    expiry: at(23_600),
    operator: key("operator 1").publicKey,
  };
  add("change-proposal", "cairn/change/v1", proposed, by("operator 1"));
  const changeVote = (voter: number): ChangeVote => ({
    version: 1,
    cluster,
    manifestHash: inForce,
    proposal: changeProposalHash(proposed),
    node: index(voter),
    approve: true,
    reason: null,
    operatorSignature: signChange(change, key(`operator ${voter}`)),
  });
  add("change-vote", "cairn/change-vote/v1", changeVote(1), node(1));
  const changeRefusal = { approve: false, reason: "operator-signature-missing", operatorSignature: null };
  add("change-vote-refusal", "cairn/change-vote/v1", { ...changeVote(5), ...changeRefusal }, node(5));
  add(
    "change-commit",
    null,
    formChangeCommit(
      signChangeProposal(proposed, key("operator 1")),
      [1, 2, 3, 4].map((voter) => signChangeVote(changeVote(voter), key(`node ${voter}`))),
      { manifest: genesis, manifestHash: inForce },
    ),
    null,
  );
  add(
    "change-proposal-manifest",
    "cairn/change/v1",
    { ...proposed, change: { type: "manifest", manifest: successor, policy: null } },
    by("operator 1"),
  );

  const refresh: KeyRefresh = {
    version: 1,
    cluster,
    manifestHash: inForce,
    keyId,
    epoch: 1,
    createdAt: at(20_000),
  };
  add("key-refresh", "cairn/key-refresh/v1", refresh, by("operator 1"));
  const verifiedBackup: VerifiedBackup = {
    version: 1,
    cluster,
    node: nodeIndexSchema.parse(1),
    backup: hashHexSchema.parse("b5".repeat(32)),
    keys: [{ keyId, epoch: 0 }],
    createdAt: at(21_000),
    verifiedAt: at(22_000),
  };
  add("verified-backup", "cairn/verified-backup/v1", verifiedBackup, by("operator 1"));
  add(
    "change-proposal-refresh",
    "cairn/change/v1",
    { ...proposed, change: { type: "refresh", refresh } },
    by("operator 1"),
  );

  // Transport and certificates
  add(
    "hello",
    "cairn/hello/v1",
    {
      version: 1,
      cluster,
      from: index(1),
      to: index(2),
      role: "dialer",
      boot: digest("boot"),
      epoch: 0,
      protocolVersions: [1],
      binding: digest("TLS exporter"),
    },
    node(1),
  );
  add("hello-refusal", null, { code: "NodeBanned" }, null);
  const posted = encodeCanonical(signVote(vote(1), key("node 1")));
  const sealedPayload = { id: `vote/${hash}/1`, body: posted, receipts: [`intent/${hash}`] };
  add("sealed-payload", null, sealedPayload, null);
  const ask: SyncRequest = {
    version: 1,
    cluster,
    nonce: digest("sync nonce") as Nonce,
    topic: "spends",
    cursor: `${at(0)}/${hash}`,
    limit: 2,
    wanted: null,
  };
  add("sync-request", null, ask, null);
  add(
    "sync-request-wanted",
    null,
    { ...ask, cursor: null, wanted: { intents: [hash], requests: [] } } satisfies SyncRequest,
    null,
  );
  const told: SyncAnswer = {
    version: 1,
    cluster,
    nonce: ask.nonce,
    topic: ask.topic,
    holdings: [
      {
        intent: hash,
        certified: true,
        signed: false,
        votes: 4,
        voids: 0,
        yours: [1],
        yourVoid: false,
      },
    ],
    records: [],
    cursor: `${at(1)}/${"0".repeat(64)}`,
    more: false,
  };
  const handed: SyncAnswer = {
    ...told,
    holdings: [],
    records: [
      { kind: "intent", body: new Uint8Array(encodeCanonical(intent)) },
      {
        kind: "approval",
        body: new Uint8Array(encodeCanonical(signSpendApproval(approval, key("approver")))),
      },
      { kind: "vote", body: new Uint8Array(posted) },
    ],
    cursor: null,
  };
  add("sync-answer", null, told, null);
  add("sync-answer-wanted", null, handed, null);
  add(
    "revocation-list",
    "cairn/revocation-list/v1",
    {
      version: 1,
      cluster,
      number: 1,
      issuedAt: at(90_000),
      revoked: [{ serial: "0A1B2C3D", revokedAt: at(89_000), reason: "key lost" }],
    },
    by("authority"),
  );
  const header: EnvelopeHeader = {
    version: 1,
    cluster,
    epoch: 0,
    session: null,
    round: 0,
    from: index(1),
    to: index(2),
    seq: at(7_203) * 1000,
    sentAt: at(7_203),
    kind: "vote",
    trace: null,
  };
  add("envelope-header", null, header, null);
  const content = encodeCanonical(sealedPayload);
  const opens = sealed !== null && (await envelopeHolds(sealed, header, content));
  const frame = opens
    ? fromHex(sealed)
    : await sealEnvelope(header, content, exampleSealingKey("sealing 2").publicKey, key("node 1"));
  const { signature: _, ...body } = decodeEnvelope(frame);
  add("envelope", "cairn/envelope/v1", body, node(1));
  add("envelope-frame", null, decodeEnvelope(frame), null);
  return { keys, examples };
}

/** Whether `frame` is `header` and `content`, sealed to example node 2 and signed by node 1. */
async function envelopeHolds(frame: string, header: EnvelopeHeader, content: Uint8Array): Promise<boolean> {
  const envelope = decodeEnvelope(fromHex(frame));
  if (toHex(encodeCanonical(envelope.header)) !== toHex(encodeCanonical(header))) return false;
  const opened = await openEnvelope(
    envelope,
    {
      cluster: header.cluster,
      me: header.to,
      from: header.from,
      senderKey: exampleSigner("node 1").publicKey,
      now: header.sentAt,
      clockSkewMs: 0,
    },
    exampleSealingKey("sealing 2"),
  ).catch(() => null);
  return opened !== null && toHex(opened) === toHex(content);
}
