import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CairnError, nodeConfigSchema } from "@cairn/core";
import { describeConfig } from "../src/describe-config.ts";
import { loadConfig } from "../src/load-config.ts";
import { parseFlags } from "../src/parse-flags.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-config-"));
});
after(() => rm(folder, { recursive: true, force: true }));

const MINIMAL = '[node]\nindex = 3\n[chain]\nendpoints = ["http://127.0.0.1:3002"]\n';

async function load(
  toml: string,
  environment: Record<string, string> = {},
  flags: Record<string, string> = {},
): ReturnType<typeof loadConfig> {
  const file = join(folder, "cairn.toml");
  await writeFile(file, toml);
  return loadConfig({ file, environment, flags });
}

async function refusal(...input: Parameters<typeof load>): Promise<CairnError> {
  const error = await load(...input).then(
    () => assert.fail("the configuration was accepted"),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof CairnError);
  return error;
}

test("flags win over the environment, the environment over the file, the file over defaults", async () => {
  const toml = `${MINIMAL}[api]\nlisten = "127.0.0.1:1"\nrate_per_minute = 10\nmax_body_bytes = 2048\n`;
  const environment = { CAIRN_API__LISTEN: "127.0.0.1:2", CAIRN_API__RATE_PER_MINUTE: "20" };
  const { config, folder: where } = await load(toml, environment, { "api.listen": "127.0.0.1:3" });
  assert.equal(config.api.listen, "127.0.0.1:3");
  assert.equal(config.api.rate_per_minute, 20);
  assert.equal(config.api.max_body_bytes, 2048);
  assert.equal(config.log.level, "info");
  assert.equal(where, folder);
});

test("what is left out has the schema's default", async () => {
  const { config } = await load(MINIMAL);
  assert.deepEqual(
    config,
    nodeConfigSchema.parse({ node: { index: 3 }, chain: { endpoints: ["http://127.0.0.1:3002"] } }),
  );
});

test("texts become the type of their key: lists by commas or JSON, null, numbers", async () => {
  const hash = "ab".repeat(32);
  const { config } = await load(
    MINIMAL,
    {
      CAIRN_CHAIN__ENDPOINTS: "http://a.example, http://b.example",
      CAIRN_API__CORS_ORIGINS: '["https://c.example"]',
      CAIRN_API__TOKENS: JSON.stringify([{ name: "a", role: "viewer", hash }]),
      CAIRN_SIGNING__THREADS: "null",
      // Other programs' variables.
      CAIRN_TOKEN: "x",
      PATH: "/bin",
    },
    { "primes.target": "7" },
  );
  assert.deepEqual(config.chain.endpoints, ["http://a.example", "http://b.example"]);
  assert.deepEqual(config.api.cors_origins, ["https://c.example"]);
  assert.deepEqual(config.api.tokens, [{ name: "a", role: "viewer", hash }]);
  assert.equal(config.signing.threads, null);
  assert.equal(config.primes.target, 7);
});

test("a wrong value names its key, where it came from, what the key is and how to set it", async () => {
  const error = await refusal(MINIMAL, { CAIRN_API__LISTEN: "8080" });
  assert.equal(error.code, "config-invalid");
  assert.equal(error.data.key, "api.listen");
  assert.match(
    error.message,
    /api\.listen: expected host:port \(from CAIRN_API__LISTEN\).*Where the REST API listens.*CAIRN_API__LISTEN/,
  );
});

test("every wrong key is named at once", async () => {
  const error = await refusal('[node]\nindex = 0\n[log]\nlevel = "loud"\n');
  assert.match(error.message, /node\.index: too small/);
  assert.match(error.message, /chain\.endpoints: is not set/);
  assert.match(error.message, /log\.level/);
});

const refused: readonly (readonly [string, Parameters<typeof load>, RegExp])[] = [
  [
    "an unknown key of the file",
    [`${MINIMAL}[api]\nlistn = "a"\n`],
    /api\.listn: there is no such key.*api\.listen/,
  ],
  ["an unknown section", [`${MINIMAL}[apis]\na = 1\n`], /apis: there is no such key/],
  [
    "an unknown variable",
    [MINIMAL, { CAIRN_API__LISTN: "a" }],
    /api\.listn: there is no such key \(from CAIRN_API__LISTN\)/,
  ],
  [
    "an unknown flag",
    [MINIMAL, {}, { "nope.nope": "1" }],
    /nope\.nope: there is no such key \(from --nope\.nope\)/,
  ],
  ["a key outside of sections", ["index = 1\n"], /index .*outside of a section/],
  ["broken TOML", ["[node\n"], /not valid TOML: line 1/],
  ["a number that is none", [MINIMAL, { CAIRN_PRIMES__TARGET: "4x" }], /primes\.target/],
  ["a fraction", [MINIMAL, { CAIRN_PRIMES__TARGET: "1.5" }], /primes\.target/],
  [
    "a list that is not JSON",
    [MINIMAL, { CAIRN_API__TOKENS: "[{" }],
    /api\.tokens: CAIRN_API__TOKENS is not JSON/,
  ],
  ["TLS without its key", [MINIMAL, { CAIRN_API__TLS_CERTIFICATE: "a.pem" }], /api\.tls_key: TLS needs both/],
  [
    "refilling above the target",
    [MINIMAL, { CAIRN_PRESIGNATURES__TARGET: "5" }],
    /presignatures\.refill_below/,
  ],
  [
    "sessions shorter than their Acks",
    [MINIMAL, { CAIRN_SIGNING__SESSION_MS: "1000" }],
    /signing\.session_ms/,
  ],
  ["another store", [MINIMAL, { CAIRN_STORAGE__URL: "mysql://a" }], /storage\.url/],
  [
    "two tokens of one name",
    [
      MINIMAL,
      {
        CAIRN_API__TOKENS: JSON.stringify(
          ["aa", "bb"].map((byte) => ({ name: "a", role: "viewer", hash: byte.repeat(32) })),
        ),
      },
    ],
    /two tokens share one name/,
  ],
];

for (const [what, input, expected] of refused) {
  test(`${what} is refused with words that help`, async () => {
    const error = await refusal(...input);
    assert.equal(error.code, "config-invalid");
    assert.match(error.message, expected);
  });
}

test("a missing file is `file-missing`", async () => {
  await assert.rejects(
    loadConfig({ file: join(folder, "absent.toml"), environment: {}, flags: {} }),
    (error: unknown) =>
      error instanceof CairnError && error.code === "file-missing" && /--config/.test(error.message),
  );
});

test("flags are read in both forms, and what is no flag is refused", () => {
  assert.deepEqual(parseFlags(["--config", "a.toml", "--api.listen=[::1]:0", "--log.level", "debug"]), {
    file: "a.toml",
    settings: { "api.listen": "[::1]:0", "log.level": "debug" },
    help: false,
  });
  for (const words of [["start"], ["-x"], ["--api"], ["--api.listen"], ["--config"]]) {
    assert.throws(() => parseFlags(words), /config-invalid|flag|lacks/);
  }
});

test("every key of the configuration is described, with type, variable and default", () => {
  const keys = describeConfig();
  assert.deepEqual(
    keys.filter(({ description }) => description.length < 10).map(({ name }) => name),
    [],
  );
  assert.deepEqual(
    keys.filter((key) => key.default === undefined).map(({ name }) => name),
    ["node.index", "chain.endpoints"],
  );
  assert.deepEqual(
    keys.find(({ name }) => name === "api.tls_key"),
    {
      section: "api",
      key: "tls_key",
      name: "api.tls_key",
      variable: "CAIRN_API__TLS_KEY",
      type: "string | null",
      form: "text",
      nullable: true,
      default: null,
      description: "PEM private key of tls_certificate, mode 0600",
    },
  );
  assert.equal(new Set(keys.map(({ variable }) => variable)).size, keys.length);
});
