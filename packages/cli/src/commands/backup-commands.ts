import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { BackupList } from "@cairn/client";
import { CairnError, decodeCanonical, sha256Hex, signedVerifiedBackupSchema } from "@cairn/core";
import { writeKeyFile } from "@cairn/pki";
import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { DaemonExit } from "../daemon-exit.ts";
import { fileFailure } from "../file-failure.ts";
import { examples } from "./examples.ts";
import { collect, hex32, wholeNumber } from "./option-values.ts";

/** The program beside this package that opens and makes backups. It is started by name: this command shares no code with it. */
const PROGRAM = fileURLToPath(new URL("../../../node/src/backup-main.ts", import.meta.url));

interface CreateOptions {
  readonly out: string;
  readonly node?: number;
  readonly offline?: string;
  readonly recipient?: readonly string[];
  readonly passphrase?: true;
  readonly passphraseFile?: string;
}

/** `cairn backup`: copies of a node's share and keys that outlive its machine. */
export function addBackupCommands(program: Command, context: CommandContext): void {
  const backup = program
    .command("backup")
    .description(
      "a node's share and keys, to outlive its machine: keygen, create, verify, confirm, status, restore",
    );
  const run = async (...words: readonly string[]): Promise<void> => {
    if (!existsSync(PROGRAM)) {
      throw new CairnError("file-missing", "the node is not installed beside this command", {
        path: PROGRAM,
      });
    }
    const code = await context.modules.runDaemon(PROGRAM, [
      ...words,
      ...(context.output.json ? ["--json"] : []),
    ]);
    if (code !== 0) throw new DaemonExit(code);
  };

  backup
    .command("keygen")
    .requiredOption("--out <file>", "file to make, mode 0600; keep it away from the node, and a copy of it")
    .description("make an age identity that opens backups, and print its recipient for backup.recipients")
    .addHelpText("after", examples("cairn backup keygen --out backup-identity.txt"))
    .action(({ out }: { readonly out: string }) => run("keygen", "--out", out));

  backup
    .command("create")
    .requiredOption("--out <file>", "file to make")
    .option(
      "--node <index>",
      "refuse another node's, where several endpoints are configured",
      wholeNumber(1, 255),
    )
    .option(
      "--offline <cairn.toml>",
      "back up the stopped node of this configuration, in place of the running one",
    )
    .option("--recipient <age1…>", "with --offline: who can open it; default backup.recipients", collect)
    .option("--passphrase", "with --offline: ask for a passphrase that opens it")
    .option("--passphrase-file <file>", "with --offline: the passphrase is in this file, mode 0600")
    .description(
      "back up the node that the configuration names while it runs, to the recipients in its own cairn.toml; or a stopped one",
    )
    .addHelpText(
      "after",
      examples(
        "cairn backup create --out node-3.age --endpoint https://node-3.example:8080",
        "cairn backup create --offline node-3/cairn.toml --passphrase --out node-3.age",
      ),
    )
    .action((options: CreateOptions) =>
      options.offline === undefined ? online(context, options) : run(...offline(options)),
    );

  addOpening(backup.command("verify").argument("<file>", "what `cairn backup create` has made"))
    .option("--operator-key <file>", "operator's key, which signs that the backup is whole")
    .option("--out <file>", "with --operator-key: where the signed word goes, for `cairn backup confirm`")
    .description(
      "open a backup and check every hash, signature and share in it, on any machine; nothing is written but the word",
    )
    .addHelpText(
      "after",
      examples(
        "cairn backup verify node-3.age --identity backup-identity.txt",
        "cairn backup verify node-3.age --identity backup-identity.txt --operator-key operator.pem --out node-3.verified",
      ),
    )
    .action((file: string, options: OpeningOptions & { operatorKey?: string; out?: string }) => {
      if ((options.operatorKey === undefined) !== (options.out === undefined))
        throw new CairnError("malformed", "--operator-key and --out go together");
      return run(
        "verify",
        file,
        ...opening(options),
        ...option("operator-key", options.operatorKey),
        ...option("out", options.out),
      );
    });

  backup
    .command("confirm")
    .argument("<word>", "what `cairn backup verify --operator-key` has written")
    .description("hand a signed word on a verified backup to the cluster, which tells all nodes")
    .addHelpText("after", examples("cairn backup confirm node-3.verified"))
    .action((file: string) => confirm(context, file));

  backup
    .command("status")
    .description("the newest verified backup of each member, and keys that lack some")
    .addHelpText("after", examples("cairn backup status"))
    .action(async () => {
      const { client } = await context.access();
      printList(context, await client.call("listBackups", {}));
    });

  addOpening(backup.command("restore").argument("<file>", "what `cairn backup create` has made"))
    .requiredOption("--into <folder>", "folder to make; it must not exist, or be empty")
    .option("--peer-listen <host:port>", "where it listens for peers; default as before")
    .option("--api-listen <host:port>", "where its REST API listens; default as before")
    .option("--chain <url>", "Esplora endpoint in place of those before; several times for several", collect)
    .option("--storage <url>", "an empty database, as storage.url names it; default sqlite:cairn.db")
    .option("--storage-password-file <file>", "of the database's user, mode 0600")
    .option("--epoch <number>", "raise the epoch to this at least", wholeNumber(0, 999_999_999))
    .description(
      "make a node's folder on another machine: its keys and shares under a new key-encryption key, a raised epoch, new tokens",
    )
    .addHelpText(
      "after",
      examples(
        "cairn backup restore node-3.age --identity backup-identity.txt --into ./node-3",
        "cairn backup restore node-3.age --into ./node-3 --api-listen 127.0.0.1:8080 --chain https://esplora.example/api",
      ),
    )
    .action((file: string, options: OpeningOptions & RestoreOptions) =>
      run(
        "restore",
        file,
        ...opening(options),
        "--into",
        options.into,
        ...option("peer-listen", options.peerListen),
        ...option("api-listen", options.apiListen),
        ...(options.chain ?? []).flatMap((url) => ["--chain", url]),
        ...option("storage", options.storage),
        ...option("storage-password-file", options.storagePasswordFile),
        ...option("epoch", options.epoch),
      ),
    );
}

interface OpeningOptions {
  readonly identity?: string;
  readonly passphraseFile?: string;
  readonly cluster?: string;
  readonly node?: number;
}

interface RestoreOptions {
  readonly into: string;
  readonly peerListen?: string;
  readonly apiListen?: string;
  readonly chain?: readonly string[];
  readonly storage?: string;
  readonly storagePasswordFile?: string;
  readonly epoch?: number;
}

function addOpening(command: Command): Command {
  return command
    .option("--identity <file>", "age identity that opens it, mode 0600; asked for where it is left out")
    .option("--passphrase-file <file>", "passphrase that opens it, mode 0600; asked for where it is left out")
    .option("--cluster <id>", "refuse a backup of another cluster", (text: string) =>
      hex32(text, "a cluster's id"),
    )
    .option("--node <index>", "refuse a backup of another node", wholeNumber(1, 255));
}

function opening({ identity, passphraseFile, cluster, node }: OpeningOptions): readonly string[] {
  return [
    ...option("identity", identity),
    ...option("passphrase-file", passphraseFile),
    ...option("cluster", cluster),
    ...option("node", node),
  ];
}

function option(name: string, value: string | number | undefined): readonly string[] {
  return value === undefined ? [] : [`--${name}`, String(value)];
}

function offline({
  offline: config,
  out,
  recipient = [],
  passphrase,
  passphraseFile,
}: CreateOptions): readonly string[] {
  return [
    "create",
    ...option("config", config),
    "--out",
    out,
    ...recipient.flatMap((one) => ["--recipient", one]),
    ...(passphrase === true ? ["--passphrase"] : []),
    ...option("passphrase-file", passphraseFile),
  ];
}

/** The file is written before anything is said of it, and only if it is what the node names. */
async function online(context: CommandContext, options: CreateOptions): Promise<void> {
  const { out, recipient, passphrase, passphraseFile } = options;
  if (recipient !== undefined || passphrase === true || passphraseFile !== undefined) {
    throw new CairnError(
      "malformed",
      "a running node backs up to backup.recipients of its own cairn.toml alone, so that no token can name others; --recipient and --passphrase go with --offline",
    );
  }
  const { client } = await context.access();
  const { file, ...made } = await client.call("createBackup", {});
  const bytes = Buffer.from(file, "base64");
  if (sha256Hex(bytes) !== made.backup)
    throw new CairnError("peer-disagrees", "the node names another file than it sends; ask again");
  if (options.node !== undefined && made.node !== options.node) {
    throw new CairnError(
      "wrong-recipient",
      `node ${made.node} has answered, and not node ${options.node}: name its API with --endpoint URL`,
      { answered: made.node, asked: options.node },
    );
  }
  try {
    await writeKeyFile(out, bytes);
  } catch (cause) {
    throw fileFailure(cause, out);
  }
  const { output } = context;
  output.answer({ ...made, file: out }, () => {
    output.facts([
      ["file", out],
      ["backup", made.backup],
      ["node", String(made.node)],
      ["keys", String(made.keys.length)],
    ]);
    output.note("A backup that nobody has opened is none: `cairn backup verify` it away from the node.");
  });
}

async function confirm(context: CommandContext, file: string): Promise<void> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw fileFailure(cause, file);
  }
  decodeCanonical(signedVerifiedBackupSchema, bytes);
  const { client } = await context.access();
  printList(
    context,
    await client.call("confirmBackup", { body: { word: Buffer.from(bytes).toString("base64") } }),
  );
}

function printList({ output }: CommandContext, list: BackupList): void {
  output.answer(list, () => {
    output.table(
      ["NODE", "MADE", "VERIFIED", "KEYS", "BACKUP"],
      list.backups.map(({ node, createdAt, verifiedAt, keys, backup }) => [
        String(node),
        createdAt,
        verifiedAt,
        String(keys.length),
        backup.slice(0, 16),
      ]),
    );
    for (const { keyId, missing } of list.unbacked) {
      output.note(`key ${keyId.slice(0, 16)}: no verified backup of nodes ${missing.join(", ")}`);
    }
  });
}
