import assert from "node:assert/strict";
import { before, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import type { TransactionDetail } from "@cairn/client";
import { CairnError, type SignedSpendRequest, spendRequestHash, verifySigned } from "@cairn/core";
import fc from "fast-check";
import { btcText } from "../../src/amount.ts";
import { type Bench, createBench, runCairn, secretsOf } from "../bench.ts";
import { makeWallet } from "../fake-node.ts";
import { detailOf, paymentFor, requestOf } from "../transaction-views.ts";

let bench: Bench;
let stranger: (index: number) => { readonly address: string; readonly script: Uint8Array };

before(async () => {
  bench = await createBench();
  const { descriptor } = await makeWallet(bench.cluster, "stranger");
  stranger = (index) => deriveKey(descriptor, [0, index]);
});

/** Lets the node take spends and say `change` of them. Returns what was signed. */
function takeSpends(change: (signed: SignedSpendRequest) => Partial<TransactionDetail> = () => ({})) {
  const taken: SignedSpendRequest[] = [];
  bench.node.answers.createTransaction = ({ body }) => {
    const signed = requestOf(body);
    taken.push(signed);
    const { rawTx: _, ...payment } = paymentFor(signed);
    return detailOf(signed, { ...payment, rawTx: null }, change(signed));
  };
  return taken;
}

const codeOf = (stderr: string): string => JSON.parse(stderr.trim().split("\n").at(-1) ?? "{}").code;

test("send signs exactly what was typed, for this cluster and wallet, with the requester's key", async () => {
  const taken = takeSpends();
  const to = [stranger(0).address, stranger(1).address];
  const ran = await bench.cairn(
    ...["send", "--to", to[0] ?? "", "--amount", "0.0015", "--to", to[1] ?? "", "--amount", "20000"],
    ...["--max-fee", "5000", "--fee-rate", "12.5", "--expiry", "2h", "--json"],
  );
  assert.equal(ran.exit, 0, ran.stderr);
  assert.equal(ran.stderr, "");
  const [signed] = taken;
  assert.ok(signed !== undefined && taken.length === 1);
  const { body } = signed;
  const { manifest } = bench.cluster.signedManifest;
  const requester = manifest.requesters[0];
  assert.ok(requester !== undefined && verifySigned("cairn/spend-request/v1", signed, requester));
  assert.deepEqual(body.outputs, [
    { address: to[0], amountSats: 150_000n },
    { address: to[1], amountSats: 20_000n },
  ]);
  assert.equal(body.cluster, manifest.cluster);
  assert.equal(body.network, "regtest");
  assert.equal(body.wallet, bench.node.wallet.descriptor.wallet);
  assert.equal(body.maxFeeSats, 5_000n);
  assert.equal(body.feeRateSatsPerKvb, 12_500);
  assert.equal(body.expiry - body.createdAt, 7_200_000);
  assert.equal(body.replaces, null);
  assert.equal(body.requester, requester);
  const [call] = bench.node.called("createTransaction");
  assert.equal(call?.headers["idempotency-key"], spendRequestHash(body));
  const answer = JSON.parse(ran.stdout);
  assert.equal(answer.request, spendRequestHash(body));
  assert.equal(answer.outputs[0].amountSats, "150000");
});

test("whatever amount is typed is the amount that is signed", async () => {
  const taken = takeSpends();
  const amounts = fc.bigInt({ min: 294n, max: 2_099_999_999_999_999n });
  await fc.assert(
    fc.asyncProperty(amounts, fc.boolean(), async (amount, inBtc) => {
      const text = inBtc ? btcText(amount).replace(" BTC", "") : amount.toString();
      const ran = await bench.cairn("send", "--to", stranger(2).address, "--amount", text, "--json");
      assert.equal(ran.exit, 0, ran.stderr);
      assert.equal(taken.at(-1)?.body.outputs[0]?.amountSats, amount);
    }),
    { numRuns: 20 },
  );
});

test("people see what they sign, and nothing is sent when they say no", async () => {
  const taken = takeSpends();
  const asked: string[] = [];
  const words = ["--config", bench.cluster.cliConfig, "--endpoint", bench.node.url];
  const send = [...words, "send", "--to", stranger(0).address, "--amount", "150000"];
  const no = await runCairn(send, {}, { confirm: async (question) => asked.push(question) < 0 });
  assert.equal(no.exit, 75);
  assert.equal(taken.length, 0);
  assert.equal(asked.length, 1);
  assert.match(no.stderr, /pay 0\.00150000 BTC \(150,000 sat\) to bcrt1q/);
  assert.match(no.stderr, /fee at most 50,000 sat/);
  const yes = await runCairn(send, {}, { confirm: async () => true });
  assert.equal(yes.exit, 0, yes.stderr);
  const unasked = await runCairn([...send, "--yes"], {}, { confirm: async () => assert.fail("asked") });
  assert.equal(unasked.exit, 0, unasked.stderr);
  assert.equal(taken.length, 2);
});

test("impossible recipients and amounts are refused before anything is signed", async () => {
  const taken = takeSpends();
  const good = stranger(0).address;
  const refuses = async (words: readonly string[], code: string, exit = 2) => {
    const ran = await bench.cairn("send", ...words, "--json");
    assert.equal(codeOf(ran.stderr), code, words.join(" "));
    assert.equal(ran.exit, exit);
    assert.equal(ran.stdout, "");
  };
  for (const amount of ["-5", "0", "1.5sat", "21000001btc", "1e5", "abc"]) {
    await refuses(["--to", good, "--amount", amount], "amount-invalid");
  }
  await refuses(["--to", good, "--amount", "293"], "dust");
  await refuses(
    ["--to", `${good.slice(0, -1)}${good.endsWith("q") ? "p" : "q"}`, "--amount", "1000"],
    "address-invalid",
  );
  await refuses(["--to", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "--amount", "1000"], "wrong-network");
  await refuses(["--to", good, "--to", good, "--amount", "1000"], "malformed");
  await refuses(
    ["--to", good, "--amount", "20000000btc", "--to", good, "--amount", "20000000btc"],
    "amount-invalid",
  );
  await refuses(["--to", good, "--amount", "1000", "--expiry", "8d"], "malformed");
  await refuses(["--to", good, "--amount", "1000", "--fee-rate", "0.5"], "amount-invalid");
  await refuses(["--to", good, "--amount", "1000", "--max-fee", "-1"], "amount-invalid");
  await refuses(["--to", good, "--amount", "1000", "--replaces", "12"], "malformed");
  await refuses(["--to", good, "--amount", "1000", "--wallet", "nobody's"], "not-found", 1);
  assert.equal(taken.length, 0);
});

test("a node that says of the spend anything but what was typed is not believed", async () => {
  const other = stranger(9).address;
  const send = ["send", "--to", stranger(0).address, "--amount", "150000", "--json"];
  const lies: readonly ((signed: SignedSpendRequest) => Partial<TransactionDetail>)[] = [
    () => ({ outputs: [{ address: other, amountSats: "150000" }] }),
    ({ body }) => ({ outputs: [{ address: body.outputs[0]?.address ?? "", amountSats: "150001" }] }),
    () => ({ outputs: [] }),
    () => ({ amountSats: "1" }),
    () => ({ request: "f".repeat(64) }),
    () => ({ wallet: "f".repeat(64) }),
    () => ({ maxFeeSats: "60000" }),
    () => ({ feeSats: "50001" }),
  ];
  for (const lie of lies) {
    takeSpends(lie);
    const ran = await bench.cairn(...send);
    assert.equal(codeOf(ran.stderr), "peer-disagrees", String(lie));
    assert.equal(ran.exit, 1);
    assert.equal(ran.stdout, "");
  }
});

/** Lets the node report the spend's states one after another, the last one again and again. */
function follow(
  states: readonly ((signed: SignedSpendRequest) => TransactionDetail)[],
  taken: SignedSpendRequest[],
) {
  let reading = 0;
  bench.node.answers.getTransaction = () => {
    const [signed] = taken.slice(-1);
    const state = states[Math.min(reading++, states.length - 1)];
    if (signed === undefined || state === undefined) throw new CairnError("not-found", "nothing was sent");
    return state(signed);
  };
}

const change = (signed: SignedSpendRequest, index: number) =>
  paymentFor(signed, [
    { script: deriveKey(bench.node.wallet.descriptor, [1, index]).script, amountSats: 9_000n },
  ]);

/** Lets the node take spends whose transaction also pays change 3 of the wallet. */
function takeWithChange(): SignedSpendRequest[] {
  const taken = takeSpends();
  bench.node.answers.createTransaction = ({ body }) => {
    const signed = requestOf(body);
    taken.push(signed);
    return detailOf(signed, { txid: change(signed, 3).txid, rawTx: null });
  };
  return taken;
}

test("send --wait follows a spend to its confirmation, checks the signed bytes and prints one document", async () => {
  const taken = takeWithChange();
  follow(
    [
      (signed) => detailOf(signed, { ...change(signed, 3), rawTx: null }),
      (signed) => detailOf(signed, change(signed, 3), { state: "broadcasting" }),
      (signed) =>
        detailOf(signed, change(signed, 3), { state: "confirmed", confirmations: 1, explanation: null }),
    ],
    taken,
  );
  const send = ["send", "--to", stranger(0).address, "--amount", "150000", "--wait"];
  const json = await bench.cairn(...send, "--json");
  assert.equal(json.exit, 0, json.stderr);
  assert.equal(json.stdout.trim().split("\n").length, 1);
  assert.equal(JSON.parse(json.stdout).state, "confirmed");
  assert.equal(json.stderr, "");
});

test("send --wait STATE ends there, and --timeout ends the wait alone", async () => {
  const taken = takeWithChange();
  follow([(signed) => detailOf(signed, change(signed, 3), { state: "broadcasting" })], taken);
  const send = ["send", "--to", stranger(0).address, "--amount", "150000", "--json", "--wait"];
  assert.equal((await bench.cairn(...send, "broadcasting")).exit, 0);
  const late = await bench.cairn(...send, "confirmed", "--timeout", "1s");
  assert.equal(codeOf(late.stderr), "timeout");
  assert.equal(late.exit, 75);
});

test("an event wakes the wait, long before the next poll", async () => {
  const taken = takeWithChange();
  follow(
    [
      (signed) => detailOf(signed, change(signed, 3)),
      (signed) => detailOf(signed, change(signed, 3), { state: "confirmed" }),
    ],
    taken,
  );
  const words = ["--config", bench.cluster.cliConfig, "--endpoint", bench.node.url];
  const ran = runCairn(
    [...words, "send", "--to", stranger(0).address, "--amount", "150000", "--wait", "--json"],
    {},
    { pollMs: 60_000 },
  );
  while (bench.node.listeners === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const at = new Date(1_800_000_000_000).toISOString();
  const ping = setInterval(() => {
    bench.node.emit({ id: 1, at, type: "transaction", subject: "x", state: "confirmed", data: {} });
  }, 50);
  try {
    assert.equal((await ran).exit, 0);
  } finally {
    clearInterval(ping);
  }
});

test("a spend that ends without being paid ends the command with the reason's exit code", async () => {
  const taken = takeWithChange();
  const send = ["send", "--to", stranger(0).address, "--amount", "150000", "--json", "--wait"];
  const ends = async (end: Partial<TransactionDetail>, code: string, exit: number) => {
    follow([(signed) => detailOf(signed, { ...change(signed, 3), rawTx: null }, end)], taken);
    const ran = await bench.cairn(...send);
    assert.equal(codeOf(ran.stderr), code);
    assert.equal(ran.exit, exit);
  };
  await ends({ state: "rejected", reason: "limit-exceeded" }, "limit-exceeded", 1);
  await ends({ state: "expired", reason: null }, "expired", 1);
  await ends({ state: "aborted-timeout", reason: "quorum-missing" }, "quorum-missing", 75);
  await ends({ state: "failed", reason: "whitelist" }, "wrong-state", 1);
});

test("signed bytes that pay another address, amount, change or number of outputs are not believed", async () => {
  const taken = takeWithChange();
  const send = ["send", "--to", stranger(0).address, "--amount", "150000", "--json", "--wait"];
  const own = (index: number) => deriveKey(bench.node.wallet.descriptor, [1, index]).script;
  const forged: readonly ((signed: SignedSpendRequest) => { txid: string; rawTx: string })[] = [
    // Another transaction under the announced id
    (signed) => ({ txid: change(signed, 3).txid, rawTx: change(signed, 4).rawTx }),
  ];
  const announced: readonly ((signed: SignedSpendRequest) => { txid: string; rawTx: string })[] = [
    ({ body, ...rest }) =>
      paymentFor({
        ...rest,
        body: { ...body, outputs: [{ address: stranger(5).address, amountSats: body.maxFeeSats }] },
      }),
    (signed) => paymentFor(signed, [{ script: stranger(6).script, amountSats: 9_000n }]),
    (signed) =>
      paymentFor(signed, [
        { script: own(0), amountSats: 9_000n },
        { script: own(1), amountSats: 9_000n },
      ]),
  ];
  for (const [payment, first] of [
    ...forged.map((make) => [make, (signed: SignedSpendRequest) => change(signed, 3)] as const),
    ...announced.map((make) => [make, make] as const),
  ]) {
    bench.node.answers.createTransaction = ({ body }) => {
      const signed = requestOf(body);
      taken.push(signed);
      return detailOf(signed, { txid: first(signed).txid, rawTx: null });
    };
    follow([(signed) => detailOf(signed, payment(signed), { state: "confirmed" })], taken);
    const ran = await bench.cairn(...send);
    assert.equal(codeOf(ran.stderr), "peer-disagrees", String(payment));
    assert.equal(ran.stdout, "");
  }
});

test("a node that is away for a moment is asked again while one waits", async () => {
  const taken = takeWithChange();
  let readings = 0;
  bench.node.answers.getTransaction = () => {
    const signed = taken.at(-1);
    if (++readings < 4 || signed === undefined) throw new CairnError("busy", "not now");
    return detailOf(signed, change(signed, 3), { state: "confirmed" });
  };
  const ran = await bench.cairn("send", "--to", stranger(0).address, "--amount", "150000", "--wait");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.match(ran.stderr, /no answer \(busy\); trying again/);
});

test("no output of a spend holds a token or a key", async () => {
  takeSpends();
  const secrets = await secretsOf(bench.cluster);
  for (const extra of [[], ["--json"], ["--to", "nonsense"]]) {
    const ran = await bench.cairn("send", "--to", stranger(0).address, "--amount", "150000", ...extra);
    for (const secret of secrets) assert.ok(!(ran.stdout + ran.stderr).includes(secret));
  }
});
