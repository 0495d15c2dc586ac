import type { TokenView } from "@cairn/client";
import { CairnError, hashHexSchema, type NodeConfig, type TokenRow } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import type { NodeFacade } from "../node-facade.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";
import type { TokenBook } from "../token-book.ts";

/** Tokens of the store that are in force at once: every request is compared with all of them. */
const MOST_TOKENS = 256;

/** Endpoints of API tokens. */
export function tokenHandlers(
  { store, clock, node }: Pick<ApiModules, "store" | "clock"> & { readonly node: Pick<NodeFacade, "record"> },
  configured: NodeConfig["api"]["tokens"],
  book: Pick<TokenBook, "reread">,
): Pick<Handlers, "createToken" | "listTokens" | "revokeToken"> {
  const inForce = ({ revokedAt, expiresAt }: TokenRow): boolean =>
    revokedAt === null && (expiresAt === null || clock.now() < expiresAt);
  const save = async (row: TokenRow, kind: "token-created" | "token-revoked"): Promise<TokenView> => {
    const data = { name: row.name, role: row.role, expiresAt: row.expiresAt };
    await node.record({ write: "token", row }, { kind, subject: row.hash, data });
    book.reread();
    return viewOf(row);
  };

  return {
    async createToken({ body }) {
      const { name, role, expiresAt } = body;
      const hash = hashHexSchema.parse(body.hash);
      const rows = await store.tokens();
      const known = rows.find((row) => row.hash === hash);
      if (known !== undefined && inForce(known) && known.name === name && known.role === role) {
        return viewOf(known);
      }
      if (known !== undefined || configured.some((entry) => entry.hash === hash)) {
        throw new CairnError("wrong-state", "this token is known already, or was revoked; make another one", {
          hash,
        });
      }
      const live = rows.filter(inForce);
      if ([...live, ...configured].some((entry) => entry.name === name)) {
        throw new CairnError(
          "wrong-state",
          `a token in force is called ${name}, and the log tells tokens apart by name; choose another name or revoke that one`,
          { name },
        );
      }
      if (live.length >= MOST_TOKENS) {
        throw new CairnError(
          "limit-exceeded",
          `${MOST_TOKENS} tokens are in force at this node, and there can't be more; revoke some that nobody uses`,
          { limit: MOST_TOKENS },
        );
      }
      const now = clock.now();
      if (expiresAt !== null && expiresAt <= now) {
        throw new CairnError("expired", "expiresAt is in the past; name a time to come, or null", {
          path: "expiresAt",
        });
      }
      return save({ hash, name, role, createdAt: now, expiresAt, revokedAt: null }, "token-created");
    },

    async listTokens() {
      const rows = await store.tokens();
      return {
        tokens: [
          ...configured.map(
            ({ name, role, hash }): TokenView => ({
              name,
              role,
              hash,
              source: "configuration",
              createdAt: null,
              expiresAt: null,
              revokedAt: null,
            }),
          ),
          ...rows.map(viewOf),
        ],
      };
    },

    async revokeToken({ params }) {
      const row = (await store.tokens()).find(({ hash }) => hash === params.hash);
      if (row !== undefined) {
        return row.revokedAt === null
          ? save({ ...row, revokedAt: clock.now() }, "token-revoked")
          : viewOf(row);
      }
      if (configured.some(({ hash }) => hash === params.hash)) {
        throw new CairnError(
          "wrong-state",
          "this token stands in api.tokens of cairn.toml; take it out there and restart the node",
          { hash: params.hash },
        );
      }
      throw new CairnError(
        "not-found",
        "this node has no such token; `cairn token list` names those it has",
        {
          hash: params.hash,
        },
      );
    },
  };
}

function viewOf(row: TokenRow): TokenView {
  return {
    name: row.name,
    role: row.role,
    hash: row.hash,
    source: "api",
    createdAt: timeText(row.createdAt),
    expiresAt: timeTextOrNull(row.expiresAt),
    revokedAt: timeTextOrNull(row.revokedAt),
  };
}
