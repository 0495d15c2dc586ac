import type { ErrorCode } from "@cairn/core";

/** What each error code means to an operator, and what to do. Each error's own message says which part is meant. */
export const errorAdvice: Record<ErrorCode, string> = {
  malformed: "Something is not of the shape that is expected. Correct the field that the message names.",
  "not-canonical":
    "Bytes that are not in canonical DAG-CBOR. Encode them anew; do not edit signed structures.",
  "too-large": "Larger than the limit that the message names. Send less, or split it.",
  "unsupported-version": "The two sides have no version in common. Upgrade the older one.",
  "config-invalid":
    "The configuration is wrong; every wrong key is named. See [configuration](configuration.md).",
  "address-invalid": "Not a Bitcoin address, or mistyped. Ask the recipient again.",
  "amount-invalid": "Not an amount in the allowed range.",
  "descriptor-invalid": "Not a descriptor that Cairn reads, or a wrong checksum.",
  "wrong-network": "Something belongs to another Bitcoin network than the cluster.",
  unauthenticated: "No token, or an unknown one. Send a bearer token of this node.",
  forbidden: "The token's role does not cover this, or somebody may not do it.",
  "rate-limited": "Too many requests. Wait as long as the answer says.",
  "signature-invalid":
    "A signature does not verify. Sign again with the right key; the body must not change afterwards.",
  "unknown-requester": "The key is no requester of the manifest. Use one that is.",
  "unknown-approver": "The key is no approver of the manifest. Use one that is.",
  "unsigned-request": "The cluster takes only requests that an owner signed.",
  "operator-signature-missing": "No operator of the manifest signed, or too few did.",
  "wrong-cluster": "Made for another cluster.",
  "wrong-wallet": "Names another wallet than it must.",
  "wrong-manifest":
    "Made under another manifest than the one in force at this node. A node that was away catches up by itself; ask again. Compare manifest fingerprints.",
  "wrong-policy": "This node's policy document is not the one that the manifest pins. Install the right one.",
  "wrong-recipient": "Meant for another node. Check addresses in the manifest.",
  replayed: "Seen before, and refused the second time. Nothing needs to be done.",
  expired: "Its time is over. Make a new request.",
  "not-yet-valid": "Its time has not come. Wait; the message names the time.",
  "clock-skew": "Two clocks differ too much. Check time synchronisation on both machines.",
  "idempotency-conflict":
    "The same `Idempotency-Key` came with another body. Use a new key for a new request.",
  "policy-denied": "A rule of the policy says no. `POST /api/v1/policy/check` names the rule.",
  "limit-exceeded": "More than a limit allows. Wait for the window to pass, or ask for less.",
  "fee-too-high": "The fee is above the request's maximum or the policy's ceiling.",
  "insufficient-funds": "The wallet's spendable coins do not cover amount and fee.",
  dust: "An output is too small for nodes to relay. Send more.",
  "psbt-invalid":
    "The transaction does not do exactly what its request asks. The receiving node is at fault; try another.",
  "coin-reserved": "Another payment under way holds the coin. Wait until it ends.",
  "lineage-open": "An earlier attempt at the same payment may still confirm. Wait until it ends.",
  "coin-spent":
    "The chain shows a coin as spent. Wait for the node's chain source to catch up, or make a new request.",
  "not-found": "There is nothing of that name here.",
  "wrong-state": "Not possible in the present state. The message names the state.",
  "quorum-missing": "Too few nodes agree or can be reached. Bring nodes back.",
  "certificate-invalid": "A certificate does not prove what it must. The sender is at fault.",
  "evidence-invalid": "The evidence does not prove what it says. Whoever made it could see that.",
  "grant-invalid": "A grant differs from what this node derives from the intent. The sender is at fault.",
  "grant-expired": "The grant's time is over. Make a new request.",
  "not-member": "Not a node of the manifest, or another than it says.",
  NodeBanned: "The node is banned. Its operator reads the violation on any other node.",
  "rolled-back":
    "The node's files were set back to an earlier state; the other nodes remember a later one. Put the newest files back, or raise its epoch: see Backups.",
  "double-vote": "A node signed two different votes in one round. It is banned; look at that machine.",
  "subset-invalid": "A proposal's signers are no valid set. The proposer is at fault.",
  "not-initiator": "A proposal came from another node than the one whose turn it is.",
  "session-conflict": "Another attempt is under way. It goes on by itself.",
  "peer-unreachable": "No connection to that node. Check the network and whether the node runs.",
  "peer-disagrees": "Nodes or chain sources say different things. Compare them before going on.",
  "handshake-failed": "A connection between nodes ended before both had proved who they are.",
  timeout: "No answer in time. It is tried again where that is safe.",
  busy: "More work than this node takes at once. Try again shortly.",
  closed: "The node is stopping, or work was ended by an orderly stop.",
  "presignature-used": "The presignature was used before, and is never used again. Nothing needs to be done.",
  "presignature-mismatch":
    "A presignature does not belong to this key, path and signer set. The proposer is at fault.",
  "sealed-blob-invalid":
    "A sealed secret does not open: altered, or of another node, cluster or vault key. Restore the vault key that belongs to the data folder.",
  "vault-locked":
    "The vault key cannot be read or is wrong. Check `vault.path`, its mode, and the passphrase.",
  "invalid-partial":
    "A signature share fails its check. The attempt ends and the next one leaves its maker out.",
  "invalid-round-message":
    "A message of a protocol round fails its check. The attempt ends and the next one leaves its sender out.",
  equivocation: "A node told others different things. The attempt ends; with proof the node is banned.",
  "signing-failed": "An attempt to sign ended without a signature. The next attempt begins by itself.",
  "keygen-failed": "No key was made. Mend what the message names and start key generation again.",
  "native-missing": "The native engine is not built for this machine. Run `make build`.",
  "chain-unavailable": "No chain source answers. Check `chain.endpoints`.",
  "chain-answer-invalid": "A chain source answers with something impossible. Replace that source.",
  "chain-rejected": "The Bitcoin network refuses the transaction. The message holds its reason.",
  "storage-locked": "Another process has the database open. Stop it first.",
  "storage-corrupt": "The database is damaged. Stop the node and keep the files; see below.",
  "storage-full": "The disk of the database is full. Make room; the node goes on by itself.",
  "storage-failed":
    "The disk failed a write, or the Postgres server stayed away or let another process have the database; the daemon has ended. Mend that and start it again: only then is it known what was kept.",
  "schema-too-new": "The database was written by a newer version. Run that version.",
  "backup-incomplete":
    "A backup opens, but lacks something or holds what does not fit. Make another one, and find out what spoilt it.",
  "not-backed-up":
    "Coins may be paid to this key only once every member has a verified backup of its share: `cairn backup status` says who is missing. An operator can override it.",
  "audit-broken": "The audit log was altered, or belongs to another key. Keep the files and find out why.",
  "file-mode": "Others may read a secret file. Set files to 0600 and folders to 0700.",
  "file-missing": "A file is not there. Check the path in the configuration.",
  "file-exists": "A file is there already and is never overwritten. Choose another place.",
  "certificate-expired": "A node's certificate has ended. Issue a new one for the same key.",
  "certificate-refused": "A certificate is not one of this cluster's for that node and key.",
  internal: "A fault in Cairn. Keep the log line and report it.",
};
