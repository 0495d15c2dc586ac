import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { runCli } from "@cairn/cli";
import { problemSchema, spendRequestToJson } from "@cairn/client";
import {
  type ErrorCode,
  errorCodes,
  type Sats,
  type SpendRequest,
  signBody,
  systemClock,
  systemRandom,
  type WalletId,
} from "@cairn/core";
import { checkPayment } from "../../src/cluster/check-payment.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

let cluster: Cluster;
let owner: ClusterOwner;
let wallet: OwnedWallet;
let shop: string;
/** What slow clients are answered, whose patience runs while the other tests do. */
let slow: Promise<readonly string[]>;

before(async () => {
  cluster = await startReducedCluster();
  owner = new ClusterOwner(cluster);
  wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
  owner.fund(wallet, [0, 0], 300_000n);
  shop = cluster.chain.faucet.address;
  const head = "POST /api/v1/transactions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
  const token = `authorization: Bearer ${cluster.files.tokens.spender}\r\n`;
  slow = Promise.all([head, `${head}${token}content-length: 500\r\n\r\n{"req`].map(trickle));
});
after(() => cluster.close());

/** Its first two are of mainnet and testnet; the rest are of regtest's prefix, and wrong. */
const addresses = {
  mainnet: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
  testnet: "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
  version2: "bcrt1zqurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurszqtpkz",
  version16: "bcrt1squrswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursfzcfsm",
};

interface Refusal {
  readonly code: ErrorCode;
  /** What a person must read in it. */
  readonly words: RegExp;
}

/** Posts `body` as it is to the node that is asked, with a spender's token. */
async function post(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly json: unknown }> {
  const response = await fetch(`${cluster.node(1).api}/api/v1/transactions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${cluster.files.tokens.spender}`,
      "content-type": "application/json",
      ...headers,
    },
    body,
  });
  return { status: response.status, json: await response.json() };
}

function assertRefused({ status, json }: Awaited<ReturnType<typeof post>>, name: string, refusal: Refusal) {
  const problem = problemSchema.parse(json);
  assert.equal(problem.code, refusal.code, `${name}: ${problem.detail}`);
  assert.equal(status, errorCodes[refusal.code].http, name);
  assert.match(problem.detail, refusal.words, name);
}

/** Runs `cairn send` against node 1 as the cluster's owner. */
async function send(
  ...words: readonly string[]
): Promise<{ readonly exit: number; readonly stderr: string }> {
  let stderr = "";
  const exit = await runCli(
    ["--config", cluster.files.cliConfig, "--endpoint", cluster.node(1).api, "send", "--yes", ...words],
    {
      stdout: { write: () => undefined, isTTY: false },
      stderr: {
        write: (text) => {
          stderr += text;
        },
        isTTY: false,
      },
      environment: { HOME: cluster.files.dir },
      clock: systemClock,
      random: systemRandom,
      sleep: async () => undefined,
      signal: new AbortController().signal,
      pollMs: 100,
      confirm: null,
      questions: null,
      runDaemon: async () => 0,
    },
  );
  return { exit, stderr };
}

/** The owner's request with `change`, signed: what is wrong with it is not its signature. */
function signed(change: Partial<SpendRequest>) {
  const { body } = owner.spendRequest(wallet, [{ address: shop, amountSats: 10_000n }]);
  return spendRequestToJson(signBody("cairn/spend-request/v1", { ...body, ...change }, cluster.requester));
}

const paying = (address: string, amountSats = 10_000n): Partial<SpendRequest> => ({
  outputs: [{ address, amountSats: amountSats as Sats }],
});

/** A letter of the address is another one. */
function mistyped(address: string, at: number): string {
  const letter = address[at] === "q" ? "p" : "q";
  return address.slice(0, at) + letter + address.slice(at + 1);
}

test("signed requests that can't be paid are refused over REST, each by its name and with what to do", async () => {
  const cases: Record<string, Refusal & { readonly change: Partial<SpendRequest> }> = {
    "a mainnet address": {
      change: paying(addresses.mainnet),
      code: "wrong-network",
      words: /belongs to mainnet, but the wallet is on regtest\. Ask the recipient for a regtest address/,
    },
    "a testnet address": {
      change: paying(addresses.testnet),
      code: "wrong-network",
      words: /Ask the recipient for a regtest address/,
    },
    "a mistyped address": {
      change: paying(mistyped(shop, 12)),
      code: "address-invalid",
      words: /character 13 is probably mistyped\. Copy the address again/,
    },
    "witness version 2": {
      change: paying(addresses.version2),
      code: "address-invalid",
      words: /witness version 2 yet.*Ask for a version 0 or taproot address/,
    },
    "witness version 16": {
      change: paying(addresses.version16),
      code: "address-invalid",
      words: /Ask for a version 0 or taproot address/,
    },
    "no address at all": { change: paying("savings"), code: "address-invalid", words: /Copy it again/ },
    dust: { change: paying(shop, 100n), code: "dust", words: /send recipient 1 at least [0-9]+ sat/ },
    zero: { change: paying(shop, 0n), code: "amount-invalid", words: /above zero|dust limit/ },
    "more than there is": {
      change: paying(shop, 400_000n),
      code: "insufficient-funds",
      words: /[0-9]+ sat short.*Pay less/,
    },
    "more than there ever will be together": {
      change: {
        outputs: [20_000_000n, 2_000_000n].map((btc) => ({
          address: shop,
          amountSats: (btc * 100_000_000n) as Sats,
        })),
      },
      code: "amount-invalid",
      words: /21,000,000 BTC.*Check the unit/,
    },
    "the highest fee rate": {
      change: { feeRateSatsPerKvb: 10_000_000 },
      code: "insufficient-funds",
      words: /sat short of the payment and its fee.*lower the fee rate/,
    },
    "a fee rate that the ceiling does not cover": {
      change: { feeRateSatsPerKvb: 500_000 },
      code: "fee-too-high",
      words: /miners get [0-9]+ sat.*allows 20000\. Raise the maximum fee .*or lower the rate/,
    },
    "a ceiling of nothing": {
      change: { maxFeeSats: 0n as Sats },
      code: "fee-too-high",
      words: /[Rr]aise the maximum fee/,
    },
    "an unknown wallet": {
      change: { wallet: randomBytes(32).toString("hex") as WalletId },
      code: "not-found",
      words: /wallet.*cairn wallet list/,
    },
    "another network": {
      change: { network: "mainnet" },
      code: "wrong-network",
      words: /for mainnet, the cluster for regtest/,
    },
  };
  for (const [name, { change, ...refusal }] of Object.entries(cases)) {
    assertRefused(await post(JSON.stringify(signed(change))), name, refusal);
  }
});

test("amounts, rates and fields that no request can have are refused over REST by the field that is wrong", async () => {
  const body = signed({});
  const output = (amountSats: unknown) => ({
    ...body,
    request: { ...body.request, outputs: [{ address: shop, amountSats }] },
  });
  const field = (change: object) => ({ ...body, request: { ...body.request, ...change } });
  const amount = /request\.outputs\.0\.amountSats.*whole number of satoshi as a decimal string/;
  const cases: Record<string, { readonly body: unknown; readonly words: RegExp }> = {
    "a negative amount": { body: output("-5000"), words: amount },
    "a fractional amount": { body: output("0.5"), words: amount },
    "an amount with an exponent": { body: output("1e3"), words: amount },
    "an amount as a number": {
      body: output(5000),
      words: /request\.outputs\.0\.amountSats.*expected string/,
    },
    "more than 21 million bitcoin": {
      body: output("2100000000000001"),
      words: /request\.outputs\.0\.amountSats.*21,000,000 BTC/,
    },
    "a fee rate above all bounds": {
      body: field({ feeRateSatsPerKvb: 10_000_001 }),
      words: /request\.feeRateSatsPerKvb.*10000000/,
    },
    "a fee rate of nothing": {
      body: field({ feeRateSatsPerKvb: 0 }),
      words: /request\.feeRateSatsPerKvb.*1000/,
    },
    "a ceiling above all bitcoin": {
      body: field({ maxFeeSats: "9999999999999999" }),
      words: /request\.maxFeeSats.*21,000,000 BTC/,
    },
    "no recipient": { body: field({ outputs: [] }), words: /request\.outputs/ },
    "a field too many": { body: field({ tip: "1" }), words: /request.*"tip"/ },
    "a missing field": {
      body: { request: { ...body.request, nonce: undefined }, signature: body.signature },
      words: /request\.nonce/,
    },
    "no signature": { body: { request: body.request }, words: /signature/ },
    nothing: { body: {}, words: /request.*recipient/ },
    "a bare amount of a half": { body: { recipient: shop, amount_sats: 0.5 }, words: /amount_sats/ },
    "a bare negative amount": { body: { recipient: shop, amount_sats: -1 }, words: /amount_sats/ },
  };
  for (const [name, { body, words }] of Object.entries(cases)) {
    assertRefused(await post(JSON.stringify(body)), name, { code: "malformed", words });
  }
});

test("`cairn send` refuses what can't be paid with its exit code and what to do, and sends nothing", async () => {
  const cases: Record<
    string,
    { readonly words: readonly string[]; readonly exit: number; readonly says: RegExp }
  > = {
    "a mainnet address": {
      words: ["--to", addresses.mainnet, "--amount", "10000"],
      exit: 2,
      says: /Ask the recipient for a regtest address.*\(wrong-network\)\n$/,
    },
    "a mistyped address": {
      words: ["--to", mistyped(shop, 12), "--amount", "10000"],
      exit: 2,
      says: /character 13.*\(address-invalid\)\n$/,
    },
    "witness version 2": {
      words: ["--to", addresses.version2, "--amount", "10000"],
      exit: 2,
      says: /version 0 or taproot.*\(address-invalid\)\n$/,
    },
    dust: {
      words: ["--to", shop, "--amount", "100"],
      exit: 2,
      says: /send at least [0-9]+ sat.*\(dust\)\n$/,
    },
    zero: { words: ["--to", shop, "--amount", "0"], exit: 2, says: /is zero.*\(amount-invalid\)\n$/ },
    negative: {
      words: ["--to", shop, "--amount", "-5"],
      exit: 2,
      says: /is negative.*\(amount-invalid\)\n$/,
    },
    "half a satoshi": {
      words: ["--to", shop, "--amount", "0.5sat"],
      exit: 2,
      says: /part of a satoshi.*\(amount-invalid\)\n$/,
    },
    "finer than a satoshi": {
      words: ["--to", shop, "--amount", "0.000000001"],
      exit: 2,
      says: /eight decimals.*\(amount-invalid\)\n$/,
    },
    "more than 21 million bitcoin": {
      words: ["--to", shop, "--amount", "21000001btc"],
      exit: 2,
      says: /check the unit.*\(amount-invalid\)\n$/,
    },
    "more than there is": {
      words: ["--to", shop, "--amount", "0.004"],
      exit: 1,
      says: /sat short.*Pay less.*\(insufficient-funds\)\n$/,
    },
    "an absurd fee rate": {
      words: ["--to", shop, "--amount", "10000", "--fee-rate", "100000"],
      exit: 2,
      says: /between 1 and 10000 sat\/vB.*\(amount-invalid\)\n$/,
    },
    "a rate that the ceiling does not cover": {
      words: ["--to", shop, "--amount", "10000", "--fee-rate", "500"],
      exit: 1,
      says: /--max-fee.*\(fee-too-high\)\n$/,
    },
    "a ceiling of a satoshi": {
      words: ["--to", shop, "--amount", "10000", "--max-fee", "1"],
      exit: 1,
      says: /--max-fee.*\(fee-too-high\)\n$/,
    },
    "an absurd ceiling": {
      words: ["--to", shop, "--amount", "10000", "--max-fee", "22000000btc"],
      exit: 2,
      says: /check the unit.*\(amount-invalid\)\n$/,
    },
    "an unknown wallet": {
      words: ["--to", shop, "--amount", "10000", "--wallet", "spending"],
      exit: 1,
      says: /cairn wallet list.*\(not-found\)\n$/,
    },
    "a recipient without an amount": {
      words: ["--to", shop, "--amount", "10000", "--to", shop],
      exit: 2,
      says: /2 × --to and 1 × --amount.*\(malformed\)\n$/,
    },
    "a life that is too long": {
      words: ["--to", shop, "--amount", "10000", "--expiry", "8d"],
      exit: 2,
      says: /7 days.*\(malformed\)\n$/,
    },
  };
  for (const [name, { words, exit, says }] of Object.entries(cases)) {
    const ran = await send(...words);
    assert.match(ran.stderr, says, name);
    assert.equal(ran.exit, exit, `${name}: ${ran.stderr}`);
  }
});

test("bodies that are no JSON, too large or too deep are refused over REST, and so is what comes too slowly", {
  timeout: 120_000,
}, async () => {
  const valid = JSON.stringify(signed({}));
  const cases: Record<string, Refusal & { readonly body: string | Uint8Array<ArrayBuffer> }> = {
    "half a body": { body: valid.slice(0, -9), code: "malformed", words: /not valid JSON/ },
    "bytes that are no text": {
      body: new Uint8Array(40).fill(0xff),
      code: "malformed",
      words: /not valid JSON/,
    },
    "an empty body": { body: " ", code: "malformed", words: /empty; send JSON/ },
    "a deep body": { body: "[".repeat(30_000), code: "malformed", words: /nested deeper/ },
    "a large body": {
      body: JSON.stringify({ recipient: shop, amount_sats: "1".repeat(3_000_000) }),
      code: "too-large",
      words: /larger than api\.max_body_bytes allows; send less/,
    },
  };
  for (const [name, { body, ...refusal }] of Object.entries(cases)) {
    assertRefused(await post(body), name, refusal);
  }
  const wrongType = await post(valid, { "content-type": "text/plain" });
  assert.match(problemSchema.parse(wrongType.json).detail, /application\/json/);

  const answers = await slow;
  for (const answer of answers) {
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.match(answer, /did not arrive in time; send it faster/);
  }
});

/** Sends `start` and then a byte now and then, until the node hangs up; gives what it says. */
async function trickle(start: string): Promise<string> {
  const { hostname, port } = new URL(cluster.node(1).api);
  const socket = connect({ host: hostname, port: Number(port) });
  let answer = "";
  socket.on("data", (chunk) => {
    answer += String(chunk);
  });
  socket.on("error", () => undefined);
  socket.write(start);
  const more = setInterval(() => socket.write("a"), 1_000);
  await new Promise((resolve) => socket.on("close", resolve));
  clearInterval(more);
  return answer;
}

test("after all that one recipient twice, and the wallet itself, are paid; nothing else was ever taken in", async () => {
  const recipients = [
    { address: shop, amountSats: 30_000n },
    { address: shop, amountSats: 30_000n },
    { address: owner.address(wallet, [0, 7]), amountSats: 50_000n },
  ];
  const { txid, views } = await owner.pay(1, owner.spendRequest(wallet, recipients));
  assert.ok(views[0]?.rawTx != null);
  checkPayment({ txid, rawTx: views[0].rawTx, recipients, network: "regtest" }, cluster.chain.chain);
  const left = 300_000n - 60_000n - BigInt(views[0].feeSats);
  await until(
    async () =>
      (await owner.balances(wallet)).every(({ confirmedSats }) => confirmedSats === left) ? true : null,
    { timeoutMs: 20_000, describe: () => `not every node shows that ${left} sat are left` },
  );
  const ran = await send("--to", owner.address(wallet, [0, 8]), "--amount", "20000");
  assert.equal(ran.exit, 0, ran.stderr);
  for (const index of cluster.indices) {
    const { transactions } = await cluster.client(index).call("listTransactions", {});
    assert.ok(transactions.length <= 2, `node ${index}`);
    assert.deepEqual(
      cluster.logs(index).filter(({ level }) => level === "error"),
      [],
    );
  }
});
