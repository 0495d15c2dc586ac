import { z } from "zod";

const file = z.string().min(1).max(4096);
const milliseconds = (from: number, to: number) => z.number().int().min(from).max(to);
const hostPort = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, "expected host:port");

/**
 * `cairn.toml` of a node. File names are relative to the folder that holds it. Each key may be overridden by
 * `CAIRN_SECTION__KEY` and by a flag; whatever is left out has the default given here.
 */
export const nodeConfigSchema = z.strictObject({
  node: z.strictObject({
    index: z.number().int().min(1).max(255).describe("This node's index in the manifest"),
    data_dir: file.default("data").describe("Folder of the database and sealed primes, mode 0700"),
  }),
  files: z
    .strictObject({
      manifest: file.default("manifest.cbor").describe("Signed manifest in canonical DAG-CBOR"),
      policy: file.default("policy.cbor").describe("Policy document whose hash the manifest pins"),
      identity: file.default("identity.pem").describe("Ed25519 identity key, PKCS#8 PEM, mode 0600"),
      sealing: file.default("sealing.pem").describe("X25519 sealing key, PKCS#8 PEM, mode 0600"),
      certificate: file.default("certificate.pem").describe("This node's certificate of the cluster CA"),
      authority: file.default("ca.pem").describe("Certificate of the cluster CA"),
      epoch: file
        .default("epoch")
        .describe("This node's epoch, raised at every restore; kept outside the database"),
    })
    .prefault({}),
  vault: z
    .strictObject({
      kind: z
        .enum(["file", "passphrase", "systemd-credential"])
        .default("file")
        .describe("Where the key-encryption key comes from"),
      path: file
        .default("vault.key")
        .describe(
          "Key file of 32 bytes, or file that holds the passphrase, mode 0600; or the name of the credential in `$CREDENTIALS_DIRECTORY`",
        ),
    })
    .prefault({}),
  api: z
    .strictObject({
      listen: hostPort.default("127.0.0.1:8080").describe("Where the REST API listens"),
      tls_certificate: file
        .nullable()
        .default(null)
        .describe("PEM certificate chain; null serves plain HTTP"),
      tls_key: file.nullable().default(null).describe("PEM private key of tls_certificate, mode 0600"),
      cors_origins: z.array(z.string()).default([]).describe("Web origins that browsers may call from"),
      rate_per_minute: z
        .number()
        .int()
        .min(1)
        .default(600)
        .describe("Requests a minute and token, or address"),
      max_body_bytes: z.number().int().min(1024).default(262_144).describe("Largest request body"),
      max_connections: z
        .number()
        .int()
        .min(1)
        .max(65_535)
        .default(1_024)
        .describe("Connections at once; one more is closed at once"),
      idempotency_days: z
        .number()
        .int()
        .min(1)
        .max(3_650)
        .default(30)
        .describe(
          "Days that an `Idempotency-Key` and its answer are remembered; a retry after that is a new request",
        ),
      tokens: z
        .array(
          z.strictObject({
            name: z.string().min(1).max(64),
            role: z.enum(["viewer", "spender", "operator", "admin"]),
            hash: z
              .string()
              .regex(/^[0-9a-f]{64}$/)
              .describe("SHA-256 of the token, in hex"),
          }),
        )
        .default([])
        .describe("Bearer tokens, stored as hashes"),
    })
    .prefault({}),
  transport: z
    .strictObject({
      type: z
        .enum(["p2p", "tcp"])
        .default("p2p")
        .describe("How bytes get from node to node; p2p and tcp are the same"),
      p2p_listen: hostPort.default("0.0.0.0:9000").describe("Where peers connect"),
    })
    .prefault({}),
  storage: z
    .strictObject({
      url: z
        .string()
        .default("sqlite:cairn.db")
        .describe(
          "`sqlite:FILE`, relative to node.data_dir, or `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE`; the password is never in it",
        ),
      password_file: file
        .nullable()
        .default(null)
        .describe("File that holds the Postgres user's password, mode 0600; null takes `PGPASSWORD`"),
    })
    .prefault({}),
  coordination: z
    .strictObject({
      type: z
        .enum(["none", "etcd"])
        .default("none")
        .describe(
          "Where the cluster is shown to operators, and where nodes that take requests tell each other which coins they pick; none is signed gossip alone",
        ),
      endpoints: z
        .array(z.url({ protocol: /^https?$/ }))
        .max(16)
        .default([])
        .describe("Members of etcd"),
      prefix: z
        .string()
        .regex(/^(\/[\w.-]+)+$/, "expected a path such as /cairn/main")
        .nullable()
        .default(null)
        .describe("Under which all keys lie; null is `/cairn/` and the cluster's id"),
      ca_file: file.nullable().default(null).describe("PEM of the authority of etcd's certificates"),
      cert_file: file.nullable().default(null).describe("PEM certificate that this node shows to etcd"),
      key_file: file.nullable().default(null).describe("PEM private key of cert_file, mode 0600"),
      user: z.string().min(1).nullable().default(null).describe("User of etcd"),
      password_file: file
        .nullable()
        .default(null)
        .describe(
          "File that holds the user's password, mode 0600; a certificate instead keeps it out of memory",
        ),
      timeout_ms: milliseconds(100, 60_000).default(5_000).describe("Longest wait for one answer"),
    })
    .refine(({ type, endpoints }) => type === "none" || endpoints.length > 0, {
      path: ["endpoints"],
      error: "name the members of etcd, e.g. https://etcd-1.example:2379",
    })
    .refine(
      ({ cert_file, key_file, ca_file }) =>
        (cert_file === null) === (key_file === null) && (cert_file === null || ca_file !== null),
      {
        path: ["cert_file"],
        error: "cert_file and key_file go together, and with ca_file",
      },
    )
    .refine(({ user, password_file }) => (user === null) === (password_file === null), {
      path: ["user"],
      error: "user and password_file go together",
    })
    .prefault({}),
  chain: z.strictObject({
    endpoints: z
      .array(z.url())
      .min(1)
      .max(8)
      .describe("Esplora endpoints of this node's own choice, preferred first"),
    timeout_ms: milliseconds(100, 120_000).default(10_000).describe("Longest wait for one answer"),
    poll_ms: milliseconds(100, 600_000).default(30_000).describe("Time between two looks at the chain"),
  }),
  consensus: z
    .strictObject({
      round_ms: milliseconds(500, 600_000).default(15_000).describe("Length of one round of voting"),
      recheck_ms: milliseconds(50, 60_000)
        .default(1_000)
        .describe("Wait before a check that may pass is made again"),
      clock_skew_ms: milliseconds(1_000, 600_000)
        .default(30_000)
        .describe("Clock difference that is believed"),
    })
    .prefault({}),
  signing: z
    .strictObject({
      slot_ms: milliseconds(500, 600_000)
        .default(30_000)
        .describe("One more attempt is valid with every slot; the same at all nodes"),
      ack_ms: milliseconds(200, 600_000).default(5_000).describe("Wait for all Acks of a proposal"),
      round_ms: milliseconds(500, 3_600_000)
        .default(60_000)
        .describe("Longest silence within a signing session"),
      session_ms: milliseconds(1_000, 3_600_000).default(180_000).describe("Longest signing session"),
      keygen_round_ms: milliseconds(1_000, 3_600_000)
        .default(600_000)
        .describe("Longest silence within a keygen session"),
      keygen_session_ms: milliseconds(1_000, 7_200_000).default(1_800_000).describe("Longest keygen session"),
      threads: z
        .number()
        .int()
        .min(1)
        .max(256)
        .nullable()
        .default(null)
        .describe("Native threads; null takes one a core"),
    })
    .prefault({}),
  presignatures: z
    .strictObject({
      target: z.number().int().min(0).max(10_000).default(50).describe("Presignatures wanted for a key"),
      refill_below: z
        .number()
        .int()
        .min(0)
        .max(10_000)
        .default(20)
        .describe("Stock below which refilling begins"),
      batch: z.number().int().min(1).max(64).default(10).describe("Presignatures of one session"),
      check_ms: milliseconds(1_000, 3_600_000)
        .default(300_000)
        .describe("Time between two looks at the stock"),
    })
    .prefault({}),
  primes: z
    .strictObject({
      target: z
        .number()
        .int()
        .min(0)
        .max(64)
        .default(4)
        .describe("Safe primes kept in stock; four make one node's auxiliary information"),
    })
    .prefault({}),
  audit: z
    .strictObject({
      fence_ms: milliseconds(1_000, 3_600_000)
        .default(60_000)
        .describe("Time between two questions to a peer how far it is, which show whether it was set back"),
      checkpoint_ms: milliseconds(1_000, 86_400_000)
        .default(600_000)
        .describe(
          "Time between two co-signed checkpoints of the audit logs, while they grow; the same at all nodes",
        ),
      checkpoint_entries: z
        .number()
        .int()
        .min(1)
        .max(1_000_000)
        .default(1_000)
        .describe("New entries of this node's log after which a checkpoint is due earlier"),
      anchor_ms: milliseconds(0, 31_536_000_000)
        .default(86_400_000)
        .describe(
          "Least time between two checkpoints that spends built by this node put on the chain, where the manifest has `checkpointAnchors`",
        ),
    })
    .prefault({}),
  backup: z
    .strictObject({
      recipients: z
        .array(z.string().regex(/^age1[02-9ac-hj-np-z]{58}$/, "expected an age recipient, age1…"))
        .max(16)
        .default([])
        .describe(
          "age recipients that backups of the running node are encrypted to; none refuses them. Nobody who calls the API can name others",
        ),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error"])
        .default("info")
        .describe("Least level that is logged"),
    })
    .prefault({}),
});
export type NodeConfig = z.output<typeof nodeConfigSchema>;
