import { CairnError, type Network } from "@cairn/core";
import { parseAmount } from "../amount.ts";
import type { Questions } from "../questions.ts";

/** What a person says of the cluster that `cairn init` is to make. */
export interface AskedCluster {
  readonly network: Network;
  readonly chain: readonly string[];
  readonly nodes: number;
  readonly threshold: number;
  readonly dir: string;
  /** As typed; undefined for no limit. */
  readonly maxPerDay: string | undefined;
}

const LEAST_NODES = 2;
const MOST_NODES = 64;

/** Asks for a cluster on this machine, one thing after another; every answer is checked as it is given. */
export async function askCluster(questions: Questions, dir: string): Promise<AskedCluster> {
  const network = await questions.choose<Network>("Which Bitcoin network?", [
    { value: "regtest", hint: "a chain of your own, for trying out" },
    { value: "signet", hint: "public test network" },
    { value: "testnet4", hint: "public test network" },
    { value: "mainnet", hint: "real money; nobody has audited Cairn" },
  ]);
  const chain = await questions.text(
    "Esplora endpoints (separate several with spaces)",
    network === "regtest" ? "http://127.0.0.1:3002" : "",
    (answer) => {
      const urls = words(answer);
      if (urls.length === 0) return "at least one is needed: nodes ask it for coins and blocks";
      const wrong = urls.find((url) => !/^https?:\/\/[^\s/]+/.test(url) || !URL.canParse(url));
      return wrong === undefined ? undefined : `${wrong} is no URL, e.g. https://esplora.example/api`;
    },
  );
  const nodes = Number(
    await questions.text("How many nodes?", "5", (answer) => outside(answer, LEAST_NODES, MOST_NODES)),
  );
  const usual = Math.floor((2 * nodes) / 3) + 1;
  const threshold = Number(
    await questions.text("How many of them must sign together?", String(usual), (answer) =>
      outside(answer, LEAST_NODES, nodes),
    ),
  );
  const maxPerDay = await questions.text(
    "The most that may be paid in 24 hours, e.g. 0.1btc (empty: no limit)",
    "",
    amountProblem,
  );
  const folder = await questions.text("Folder to make", dir, (answer) =>
    answer.trim() === "" ? "a folder is needed" : undefined,
  );
  return {
    network,
    chain: words(chain),
    nodes,
    threshold,
    dir: folder.trim(),
    maxPerDay: maxPerDay.trim() === "" ? undefined : maxPerDay.trim(),
  };
}

function words(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== "");
}

function outside(answer: string, least: number, most: number): string | undefined {
  const value = Number(answer);
  return /^[0-9]{1,3}$/.test(answer.trim()) && value >= least && value <= most
    ? undefined
    : `a whole number from ${least} to ${most}`;
}

function amountProblem(answer: string): string | undefined {
  if (answer.trim() === "") return undefined;
  try {
    parseAmount(answer);
    return undefined;
  } catch (error) {
    if (error instanceof CairnError) return error.message;
    throw error;
  }
}
