import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { CairnError, clusterIdSchema, manifestHashSchema } from "@cairn/core";
import { parse, stringify, TomlError } from "smol-toml";
import { z } from "zod";
import { fileCode, fileFailure } from "./file-failure.ts";

const file = z.string().min(1).max(4096);

/** The command line's own configuration, `config.toml`. File names are relative to the folder that holds it. */
export const cliConfigSchema = z.strictObject({
  endpoints: z
    .array(z.url({ protocol: /^https?$/ }))
    .min(1)
    .max(16)
    .describe("Base URLs of nodes, in order of preference; the next is asked when one can't be reached"),
  token: z.string().min(1).max(512).optional().describe("Bearer token"),
  cluster: clusterIdSchema.describe("The cluster's id"),
  manifest: manifestHashSchema.describe("Hash of the manifest that is believed; no other is"),
  requester_key: file.optional().describe("Ed25519 key that signs spends, PKCS#8 PEM, mode 0600"),
  approver_key: file.optional().describe("Ed25519 key that approves spends of others, PKCS#8 PEM, mode 0600"),
  operator_key: file
    .optional()
    .describe("Ed25519 key that signs for one member's operator, PKCS#8 PEM, mode 0600"),
});
export type CliConfig = z.output<typeof cliConfigSchema>;

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the configuration is: `--config`, then `CAIRN_CONFIG`, then `$XDG_CONFIG_HOME/cairn/config.toml` (`~/.config`). */
export function cliConfigPath(flag: string | undefined, environment: Environment): string {
  const named = flag ?? environment.CAIRN_CONFIG;
  if (named !== undefined && named !== "") return resolve(named);
  const home = environment.XDG_CONFIG_HOME;
  const base = home === undefined || home === "" ? join(environment.HOME ?? homedir(), ".config") : home;
  return join(base, "cairn", "config.toml");
}

/**
 * Reads the configuration. Key files become absolute paths.
 * @throws CairnError `file-missing`, `file-mode` when others than its owner can read it, `config-invalid`
 */
export async function readCliConfig(path: string): Promise<CliConfig> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new CairnError(
        "file-mode",
        `${path} holds a token, and others than its owner can reach it; run chmod 600 on it`,
        { path, mode: (mode & 0o777).toString(8) },
      );
    }
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (fileCode(cause) !== "ENOENT") throw fileFailure(cause, path);
    throw new CairnError(
      "file-missing",
      `there is no configuration at ${path}; make a cluster with \`cairn init\`, or name a configuration with --config FILE or CAIRN_CONFIG`,
      { path },
      { cause },
    );
  }
  const folder = dirname(path);
  const config = parseConfig(text, path);
  const absolute = (name: string | undefined) => (name === undefined ? undefined : resolve(folder, name));
  return {
    ...config,
    requester_key: absolute(config.requester_key),
    approver_key: absolute(config.approver_key),
    operator_key: absolute(config.operator_key),
  };
}

function parseConfig(text: string, path: string): CliConfig {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // Its message quotes the line, which may hold the token.
    throw new CairnError(
      "config-invalid",
      `${path} is not valid TOML: line ${cause.line}, column ${cause.column}`,
      { path, line: cause.line, column: cause.column },
    );
  }
  const parsed = cliConfigSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const key = issue?.path.join(".") ?? "";
  throw new CairnError("config-invalid", `${path}: ${key === "" ? "" : `${key}: `}${issue?.message}`, {
    path,
    key,
  });
}

/**
 * Writes the configuration with mode 0600, in one step: readers see the old one or the new one.
 * @throws CairnError `file-exists` unless `replace`; `storage-full`, `storage-failed`
 */
export async function writeCliConfig(
  path: string,
  config: CliConfig,
  options: { readonly replace: boolean },
): Promise<void> {
  const draft = `${path}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    if (!options.replace) await refuseExisting(path);
    await rm(draft, { force: true });
    const handle = await open(draft, "wx", 0o600);
    try {
      await handle.chmod(0o600);
      await handle.writeFile(stringify(config));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).then(
    () => true,
    (cause) => {
      if (fileCode(cause) === "ENOENT") return false;
      throw cause;
    },
  );
  if (!found) return;
  throw new CairnError(
    "file-exists",
    `there is a configuration at ${path} already; name another place with --config FILE`,
    { path },
  );
}
