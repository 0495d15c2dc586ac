import type { AlertKind } from "@cairn/client";

export interface AlertWords {
  /** What is the matter, as a sentence about the subject. */
  readonly what: string;
  /** What the operator can do. */
  readonly advice: string;
  /** For how long it must last before anybody is told, in milliseconds: what passes by itself is no alert. */
  readonly patienceMs: number;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** What each kind of alert says to people, the most urgent first. */
export const alertWords: { readonly [Kind in AlertKind]: AlertWords } = {
  "rolled-back": {
    what: "this node's database is older than what it has signed since: it does nothing",
    advice:
      "put the newest database back, or restore a backup and raise the epoch with `cairn node raise-epoch`",
    patienceMs: 0,
  },
  storage: {
    what: "this node cannot write to its database",
    advice: "free some disk space, or mend the database; the node goes on by itself",
    patienceMs: 0,
  },
  "no-quorum": {
    what: "too few nodes can be reached: no payment can be made",
    advice: "see `cairn cluster nodes` for who is down or banned, and call those nodes' operators",
    patienceMs: 10 * SECOND,
  },
  clock: {
    what: "a peer's clock and this node's differ too much: votes and signatures stop",
    advice: "check time synchronisation on this machine and on its peers'",
    patienceMs: 0,
  },
  ban: {
    what: "a node is banned",
    advice:
      "`cairn cluster bans list` and `cairn cluster bans explain` show why; talk to its operator, and lift the ban with `cairn cluster bans lift` only once the cause is gone",
    patienceMs: 0,
  },
  violation: {
    what: "a node broke the protocol in the last 24 hours",
    advice:
      "look for its type in docs/threat-model.md and ask the node's operator; `cairn audit list --kind violation` has the entry",
    patienceMs: 0,
  },
  "peer-set-back": {
    what: "a peer answered from an older state than it has signed, or from another: nothing is done with it",
    advice: "its operator must put the newest database back, or raise its epoch after a restore",
    patienceMs: 0,
  },
  amnesia: {
    what: "this node lost its database: it takes no part in requests that it may have signed before",
    advice:
      "`cairn cluster status` shows whom it has asked; it needs three peers that are up, and takes part in older requests no more: see the loss of a database in docs/operations.md",
    patienceMs: 0,
  },
  "peer-down": {
    what: "a peer cannot be reached",
    advice:
      "`cairn cluster nodes` shows the last error; ask its operator, or check the network between the two",
    patienceMs: MINUTE,
  },
  "proposal-conflict": {
    what: "two quorums decided on different changes of one manifest: more nodes than can be are faulty, or this one was cut off",
    advice: "compare `cairn cluster manifest` of all nodes with the other operators before anything else",
    patienceMs: 0,
  },
  "proposal-unsupported": {
    what: "a change was decided that this version of the software cannot carry out",
    advice: "upgrade this node",
    patienceMs: 0,
  },
  "proposal-failed": {
    what: "a proposal was refused, expired or failed in the last 7 days",
    advice: "`cairn proposal show` has every node's word and reason; propose it again once they are settled",
    patienceMs: 0,
  },
  "proposal-waits": {
    what: "a proposed change waits for this node's operator",
    advice: "read it with `cairn proposal show`, then `cairn proposal sign` or `cairn proposal refuse`",
    patienceMs: 0,
  },
  "backup-missing": {
    what: "members lack a verified backup of their share of a key: coins are lost when too many of them are",
    advice:
      "each of their operators makes one (`cairn backup create`), verifies it away from the node (`cairn backup verify`) and hands in the word (`cairn backup confirm`)",
    patienceMs: 0,
  },
  "stock-empty": {
    what: "a key has coins but no presignature that can be used now: payments take seconds longer",
    advice:
      "see `cairn presig status`; all signers of a presignature must be up, and `cairn presig generate` makes more",
    patienceMs: 10 * MINUTE,
  },
  "chain-unavailable": {
    what: "no chain source answers: this node cannot vote",
    advice: "check chain.endpoints and the servers behind them",
    patienceMs: MINUTE,
  },
  "chain-sources-disagree": {
    what: "a chain source tells of another chain than the majority of them, or is more than 3 blocks apart",
    advice: "check that server, the subject's place in chain.endpoints; if it stays so, take it out",
    patienceMs: 10 * MINUTE,
  },
  coordination: {
    what: "the cluster's coordination store can't be reached: payments go on, what it shows of this node is old",
    advice: "check coordination.endpoints, and that a majority of etcd's members runs",
    patienceMs: MINUTE,
  },
  "certificate-ends": {
    what: "this node's certificate ends within 30 days",
    advice: "issue a new one: see certificates in docs/operations.md",
    patienceMs: 0,
  },
};
