import { deriveKey } from "@cairn/bitcoin";
import type { KeyPath } from "@cairn/core";
import type { Command } from "commander";
import { btcText, satsText } from "../amount.ts";
import { checkBackups, missingBackups } from "../check-backups.ts";
import { chooseAddress } from "../choose-address.ts";
import type { ClusterAccess } from "../cluster-access.ts";
import type { CommandContext } from "../command-context.ts";
import { askEach, failures, successes } from "../node-answer.ts";
import type { TrustedWallet } from "../trusted-wallet.ts";
import { examples } from "./examples.ts";
import { wholeNumber } from "./option-values.ts";

const WALLET = "--wallet <wallet>";
const WALLET_HELP = "id, its first digits, or label; may be left out where there is only one";

/** `cairn wallet`: what the cluster holds, and where it can be paid. */
export function addWalletCommands(program: Command, context: CommandContext): void {
  const wallet = program.command("wallet").description("wallets: list, balance, address, export");

  wallet
    .command("list")
    .description("wallets whose records all nodes have signed; the signatures are checked here")
    .addHelpText("after", examples("cairn wallet list", "cairn wallet list --json"))
    .action(async () => {
      const access = await context.access();
      const wallets = await access.wallets();
      const { output } = context;
      output.answer({ wallets: wallets.map(({ record }) => record) }, () => {
        if (wallets.length === 0)
          output.line("No wallet yet. `cairn dkg start --protocol frost` makes a key and one over it.");
        else
          output.table(
            ["wallet", "label", "protocol", "network", "key"],
            wallets.map(({ record }) => [
              record.wallet.slice(0, 16),
              record.label,
              record.protocol,
              record.network,
              record.keyId.slice(0, 16),
            ]),
          );
      });
    });

  wallet
    .command("balance")
    .description(
      "what a wallet holds, as each node's own chain source says; nodes that say otherwise are named",
    )
    .option(WALLET, WALLET_HELP)
    .addHelpText("after", examples("cairn wallet balance", "cairn wallet balance --wallet savings --json"))
    .action(async (options: { wallet?: string }) => {
      const access = await context.access();
      const { record } = await access.wallet(options.wallet);
      const answers = await askEach(
        access.clients().map(({ endpoint, client }) => ({
          endpoint,
          ask: () => client.call("getBalance", { query: { wallet: record.wallet } }),
        })),
      );
      const [{ value: balance, endpoint: asked }, ...others] = successes(answers);
      const differing = others.filter(({ value }) => value.confirmedSats !== balance.confirmedSats);
      const { output } = context;
      const nodes = answers.map(({ endpoint, value, error }) => ({
        endpoint,
        confirmedSats: value?.confirmedSats ?? null,
        tipHeight: value?.tipHeight ?? null,
        error: error?.code ?? null,
      }));
      output.answer({ ...balance, agreed: differing.length === 0, nodes }, () => {
        const row = (name: string, sats: string): [string, string] => [
          name,
          `${btcText(BigInt(sats))}  (${satsText(BigInt(sats))})`,
        ];
        output.facts([
          ["wallet", `${record.label} (${record.wallet.slice(0, 16)})`],
          row("spendable", balance.spendableSats),
          row("confirmed", balance.confirmedSats),
          row("unconfirmed", balance.unconfirmedSats),
          row("reserved", balance.reservedSats),
          ["coins", String(balance.utxos)],
          ["tip", String(balance.tipHeight)],
        ]);
        for (const { endpoint, error } of failures(answers)) {
          output.note(`${endpoint} gives no answer: ${error.message}`);
        }
        for (const { endpoint, value } of differing) {
          output.note(
            `${endpoint} says ${satsText(BigInt(value.confirmedSats))} confirmed at height ${value.tipHeight}, and ${asked} (above) at height ${balance.tipHeight} otherwise: one chain source lags or lies; look again in a minute`,
          );
        }
      });
    });

  wallet
    .command("address")
    .description(
      "the next receive address, derived here from the wallet's own descriptor, at an index that several nodes vouch for",
    )
    .option(WALLET, WALLET_HELP)
    .option(
      "--index <number>",
      "the receive address at this index, asking no node for it",
      wholeNumber(0, 0x7fffffff),
    )
    .option(
      "--override-backups",
      "on mainnet: show it though members lack verified backups; asked for with an operator's token, and logged",
    )
    .addHelpText("after", examples("cairn wallet address", "cairn wallet address --wallet savings --index 0"))
    .action(async (options: { wallet?: string; index?: number; overrideBackups?: true }) => {
      const access = await context.access();
      const chosen = await access.wallet(options.wallet);
      await checkBackups(context, access, chosen, options.overrideBackups === true);
      const { wallet: id, descriptor } = chosen.record;
      const { output } = context;
      const { address, path } =
        options.index === undefined
          ? await nextAddress(context, access, chosen, options.overrideBackups === true)
          : deriveKey(chosen.descriptor, [0, options.index]);
      output.answer({ wallet: id, address, path: [path[0], path[1]], descriptor }, () =>
        output.line(address),
      );
    });

  wallet
    .command("export")
    .description("the wallet's descriptor with checksum (BIP-380, BIP-389), for any watch-only wallet")
    .option(WALLET, WALLET_HELP)
    .addHelpText("after", examples("cairn wallet export > wallet.txt", "cairn wallet export --json"))
    .action(async (options: { wallet?: string }) => {
      const access = await context.access();
      const chosen = await access.wallet(options.wallet);
      const { record, descriptor } = chosen;
      const isShown = record.network !== "mainnet" || (await missingBackups(access, chosen)).length === 0;
      const { output } = context;
      output.answer(
        {
          wallet: record.wallet,
          label: record.label,
          network: record.network,
          descriptor: descriptor.text,
          birthday: new Date(record.birthday).toISOString(),
          // Null where `cairn wallet address` would not show it either.
          firstAddress: isShown ? deriveKey(descriptor, [0, 0]).address : null,
        },
        () => output.line(descriptor.text),
      );
    });
}

/** What all configured nodes together say is next; doubts go to the person. */
async function nextAddress(
  { output }: CommandContext,
  access: ClusterAccess,
  wallet: TrustedWallet,
  override: boolean,
): Promise<{ readonly address: string; readonly path: KeyPath }> {
  const { manifest } = await access.signedManifest();
  const query = { wallet: wallet.record.wallet };
  const answers = await askEach(
    access.clients().map(({ endpoint, client }) => ({
      endpoint,
      ask: () =>
        override ? client.call("overrideAddress", { body: query }) : client.call("getAddress", { query }),
    })),
  );
  const { address, path, warnings } = chooseAddress(answers, wallet, manifest);
  for (const warning of warnings) output.note(warning);
  const unbacked = answers.find(({ value }) => value !== null)?.value?.unbacked ?? [];
  if (unbacked.length > 0 && manifest.network !== "regtest" && !override) {
    output.note(
      `nodes ${unbacked.join(", ")} have no verified backup of this wallet's key: see \`cairn backup status\``,
    );
  }
  return { address, path };
}
